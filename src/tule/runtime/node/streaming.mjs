// What handlers see as `awslambda`, and the stream that carries what they write.
import { Writable } from "node:stream";

const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark");
const HTTP_RESPONSE = "application/vnd.awslambda.http-integration-response";
const PRELUDE_END = new Uint8Array(8);

class HttpResponseStream {
  static from(stream, prelude) {
    stream.setContentType(HTTP_RESPONSE);
    stream._onBeforeFirstWrite = (write) => {
      write(JSON.stringify(prelude));
      write(PRELUDE_END);
    };
    return stream;
  }
}

export const awslambda = {
  streamifyResponse(handler, options) {
    handler[STREAMING] = "response";
    if (typeof options?.highWaterMark === "number") handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
    return handler;
  },
  HttpResponseStream,
};

export const streams = (handler) => handler[STREAMING] === "response";
export const highWaterMark = (handler) => handler[HIGH_WATER_MARK];

const isBytes = (chunk) => typeof chunk === "string" || chunk instanceof Uint8Array;

// `send(head, bytes, done)` puts a chunk on its way and calls `done` when there is room for another.
export class ResponseStream extends Writable {
  #send;
  #contentType = "application/octet-stream";
  #begun = false;

  constructor(send, highWaterMark) {
    super({ highWaterMark, decodeStrings: true });
    this.#send = send;
  }

  get begun() {
    return this.#begun;
  }

  setContentType(type) {
    if (this.#begun) throw Object.assign(new Error("Cannot set content-type, too late."), { name: "InvalidStreamingOperation" });
    this.#contentType = type;
  }

  write(chunk, encoding, done) {
    if (!this.#begun) {
      this.#begun = true;
      this._onBeforeFirstWrite?.((bytes) => super.write(bytes));
    }
    return super.write(isBytes(chunk) ? chunk : JSON.stringify(chunk), encoding, done);
  }

  end(chunk, encoding, done) {
    if (chunk !== undefined && chunk !== null && typeof chunk !== "function") {
      this.write(chunk, typeof encoding === "string" ? encoding : undefined);
      return super.end(typeof encoding === "function" ? encoding : done);
    }
    if (!this.#begun && this._onBeforeFirstWrite) this.write("");
    return super.end(...[chunk, encoding, done].filter((value) => typeof value === "function"));
  }

  #type() {
    const head = this.#contentType ? { type: this.#contentType } : {};
    this.#contentType = "";
    return head;
  }

  _write(chunk, _encoding, done) {
    this.#send(this.#type(), chunk, done);
  }
}
