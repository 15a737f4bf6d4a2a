// A Node execution environment: waits for its function on descriptor 3, becomes it, serves it. Started before any
// function is known wherever the sandbox allows that; nothing of the user's is loaded until the claim has come.
import Module, { createRequire } from "node:module";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import util from "node:util";
import { pathToFileURL } from "node:url";

import * as compiled from "./compiled.mjs";
import { LoadTimes } from "./load_times.mjs";
import { awslambda, highWaterMark, ResponseStream, streams } from "./streaming.mjs";

const [CLAIM, INVOKE, READY, DONE, CHUNK, COMPILED] = Buffer.from("CIRDKV");
const HEADER = 5;
const channel = new net.Socket({ fd: 3, readable: true, writable: true });
const write = fs.writeSync;

// The runtime's own SDK, for packages that bring none: loaded while nobody waits. What fails is met again by who needs it.
for (const name of process.argv.splice(2).flatMap((names) => names.split(","))) {
  try {
    createRequire("/var/node_modules/")(name);
  } catch {
    break;
  }
}

const OURS = new URL(".", import.meta.url).href;
let claim = null;
let handler = null;
let current = null;

// -- frames

function frame(kind, head, body = Buffer.alloc(0)) {
  const text = Buffer.from(JSON.stringify(head));
  const data = Buffer.allocUnsafe(HEADER + 4 + text.length + body.length);
  data.writeUInt32LE(4 + text.length + body.length, 0);
  data[4] = kind;
  data.writeUInt32LE(text.length, HEADER);
  text.copy(data, HEADER + 4);
  body.copy(data, HEADER + 4 + text.length);
  return data;
}

// Also right before the process ends, so it must not wait for the loop. The socket never blocks: try until it is out.
const sendNow = (kind, head, body) => writeAll(3, frame(kind, head, body));

function writeAll(fd, data) {
  for (let at = 0; at < data.length; ) {
    try {
      at += write(fd, data, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

let pending = [];
let pendingBytes = 0;
let wanted = HEADER;

channel.on("data", (piece) => {
  pending.push(piece);
  pendingBytes += piece.length;
  while (pendingBytes >= wanted) {
    const all = pending.length === 1 ? pending[0] : Buffer.concat(pending);
    const length = all.readUInt32LE(0);
    if (all.length < HEADER + length) {
      pending = [all];
      wanted = HEADER + length;
      return;
    }
    const end = HEADER + length;
    const headEnd = HEADER + 4 + all.readUInt32LE(HEADER);
    const head = JSON.parse(all.toString("utf8", HEADER + 4, headEnd));
    const kind = all[4];
    const body = all.subarray(headEnd, end);
    const rest = all.subarray(end);
    pending = rest.length ? [rest] : [];
    pendingBytes = rest.length;
    wanted = HEADER;
    if (kind === CLAIM) become(head);
    else if (kind === INVOKE) serve(head, body);
  }
});
channel.on("end", () => process.exit(0));
channel.on("error", () => process.exit(0));

// -- logs, as AWS's runtime writes them: time, request, level, message; one call, one event

const RANKS = { TRACE: 0, DEBUG: 1, INFO: 2, WARN: 3, ERROR: 4, FATAL: 5 };
const METHODS = { log: "INFO", debug: "DEBUG", info: "INFO", warn: "WARN", error: "ERROR", fatal: "FATAL", trace: "TRACE" };
let asJson = false;

function patchConsole() {
  asJson = process.env.AWS_LAMBDA_LOG_FORMAT === "JSON";
  const least = (asJson && RANKS[process.env.AWS_LAMBDA_LOG_LEVEL]) || 0;
  for (const [method, level] of Object.entries(METHODS)) {
    if (RANKS[level] < least) {
      console[method] = () => {};
      continue;
    }
    if (asJson) {
      console[method] = (...values) => logJson(level, values);
      continue;
    }
    console[method] = (...values) => {
      const text = method === "trace" ? new Error(util.format(...values)).stack.replace(/^Error/, "Trace") : util.format(...values);
      log(level, text);
    };
  }
}

function log(level, text) {
  const line = `${new Date().toISOString()}\t${current?.requestId ?? "undefined"}\t${level}\t${text}`;
  writeAll(1, Buffer.from(`${line.replaceAll("\n", "\0\x1e")}\n`)); // a line's end inside one event
}

// One value stays what it is; of several, text is made, and the first error among them is told apart.
function logJson(level, values) {
  const told = { timestamp: new Date().toISOString(), level, requestId: current?.requestId };
  let line;
  if (values.length === 1) {
    try {
      line = JSON.stringify({ ...told, message: values[0] }, (_, value) => (value instanceof Error ? errorFields(value) : value));
    } catch {
      line = JSON.stringify({ ...told, message: util.format(values[0]) });
    }
  } else {
    const error = values.slice(1).find((value) => value instanceof Error);
    const { errorType, errorMessage, stackTrace } = error ? errorFields(error) : {};
    line = JSON.stringify({ ...told, message: util.format(...values), errorType, errorMessage, stackTrace });
  }
  writeAll(1, Buffer.from(`${line}\n`));
}

const errorFields = (error) => ({
  errorType: error.constructor?.name ?? "UnknownError",
  errorMessage: error.message,
  stackTrace: typeof error.stack === "string" ? error.stack.split("\n") : error.stack,
  ...error,
});

// -- errors

class RuntimeError extends Error {}
const named = (name) => Object.defineProperty(class extends RuntimeError {}, "name", { value: name });
const kinds = Object.fromEntries(
  ["ImportModuleError", "HandlerNotFound", "MalformedHandlerName", "UserCodeSyntaxError", "UnhandledPromiseRejection", "MarshalError", "NodeJsExit", "CallbackHandlerDeprecated"].map(
    (name) => [name, named(`Runtime.${name}`)],
  ),
);

function fault(kind, message, cause) {
  const error = new kinds[kind](message);
  error.name = `Runtime.${kind}`;
  if (cause?.stack) error.stack = `${error.name}: ${message}\n${cause.stack.split("\n").slice(1).join("\n")}`;
  return error;
}

function describe(error) {
  if (!util.types.isNativeError(error) && !(error && error.name && error.message !== undefined && error.stack)) {
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  }
  return {
    errorType: error.name ?? "Error",
    errorMessage: error.message,
    trace: (error.stack ?? "").split("\n").filter((line) => !line.includes(OURS)),
  };
}

function logError(what, error) {
  const told = describe(error);
  if (asJson) {
    const message = { errorType: told.errorType, errorMessage: told.errorMessage, stackTrace: told.trace, ...ownFields(error) };
    logJson("ERROR", [message]);
    return;
  }
  const own = ownFields(error);
  let text;
  try {
    text = JSON.stringify({ errorType: told.errorType, errorMessage: told.errorMessage, ...own, stack: told.trace });
  } catch {
    text = JSON.stringify({ errorType: told.errorType, errorMessage: told.errorMessage, stack: told.trace });
  }
  log("ERROR", `${what} \t${text}`);
}

const ownFields = (error) =>
  Object.fromEntries(Object.entries(Object(error)).filter(([key]) => !["name", "message", "stack"].includes(key)));

process.on("uncaughtException", (error) => die("Uncaught Exception", error));
process.on("unhandledRejection", (reason) => {
  const error = fault("UnhandledPromiseRejection", String(reason), reason);
  error.reason = reason instanceof Error ? describe(reason) : reason;
  die("Unhandled Promise Rejection", error);
});

// AWS answers with the error and starts anew: so the answer goes out first.
function die(what, error) {
  logError(what, error);
  const end = () => {
    if (current) answer(current, describe(error), true);
    else if (claim && !handler) sendNow(READY, { ms: 0, error: describe(error) });
    process.exit(129);
  };
  if (channel.writableLength) channel.write("", end); // behind what is left of a streamed chunk
  else end();
}

// -- finding the handler

const firstThat = (test, values) => values.find(test);

async function load(root, text) {
  const match = /^((?:.*\/)?)([^./]*)\.(.*)$/.exec(text);
  if (text.includes("..") || !match) {
    throw text.includes("..")
      ? fault("MalformedHandlerName", `'${text}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`)
      : fault("MalformedHandlerName", "Bad handler");
  }
  const [, folder, name, exported] = match;
  const base = path.resolve(root, folder, name);
  const module = await importFile(root, folder, name, base);
  const found = exported.split(".").reduce((value, key) => value?.[key], module);
  if (found === undefined || found === null) throw fault("HandlerNotFound", `${text} is undefined or not exported`);
  if (typeof found !== "function") throw fault("HandlerNotFound", `${text} is not a function`);
  if (found.length >= 3 && !streams(found) && since24()) throw fault("CallbackHandlerDeprecated", NO_CALLBACKS);
  return found;
}

// AWS counts the parameters that a handler declares, whatever it does with them.
const since24 = () => Number(/nodejs(\d+)/.exec(process.env.AWS_EXECUTION_ENV)?.[1]) >= 24;
const NO_CALLBACKS =
  "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this " +
  "function to use a supported handler signature to use Node.js 24 or later. For more information see " +
  "https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.";

async function importFile(root, folder, name, base) {
  const file = firstThat((place) => fs.existsSync(place) && fs.statSync(place).isFile(), ["", ".js", ".mjs", ".cjs", ...(since24() ? [".ts", ".mts", ".cts"] : [])].map((end) => base + end));
  try {
    if (file === undefined) {
      const told = `Cannot find module '${folder}${name}'\nRequire stack:\n- /var/runtime/index.mjs`;
      throw Object.assign(new Error(told), { code: "MODULE_NOT_FOUND" });
    }
    if (/\.m[jt]s$/.test(file) || isModule(file)) return unwrap(await import(pathToFileURL(file).href));
    return createRequire(file)(file);
  } catch (error) {
    if (error instanceof SyntaxError) throw fault("UserCodeSyntaxError", `${error}`, error);
    if (["MODULE_NOT_FOUND", "ERR_MODULE_NOT_FOUND"].includes(error?.code)) throw fault("ImportModuleError", `${error}`, error);
    throw error;
  }
}

// Node itself would look into every folder up to the root; AWS stops at the package.
function isModule(file) {
  if (!/\.[jt]s$/.test(file)) return false;
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8")).type === "module";
    } catch (error) {
      if (error instanceof SyntaxError) return false;
    }
    if (folder === path.dirname(folder) || folder === claim.root) return false;
  }
}

const unwrap = (module) => (module.default && typeof module.default === "object" ? { ...module.default, ...module } : module);

async function become(head) {
  const started = process.hrtime.bigint();
  claim = head;
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, head.environment);
  claim.root = process.env.LAMBDA_TASK_ROOT;
  patchConsole();
  if (!["1", "true"].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) globalThis.awslambda = awslambda;
  let error = null;
  const times = new LoadTimes(Module, claim.root, head.handler);
  compiled.begin(head);
  try {
    process.chdir(claim.root);
    if (head.modules.length) (await import("./layers.mjs")).lookIn(head.modules[0]);
    if (head.debug) await awaitDebugger(head.debug);
    handler = await load(claim.root, head.handler);
  } catch (problem) {
    logError("Uncaught Exception", problem);
    error = describe(problem);
  }
  const ms = milliseconds(started);
  const modules = times.stop();
  const [files, bytes] = (!error && compiled.collect(head)) || [];
  if (files) sendNow(COMPILED, { files }, bytes);
  sendNow(READY, { ms, error, modules });
  if (error) process.exit(1);
}

async function awaitDebugger({ port }) {
  const inspector = await import("node:inspector");
  inspector.open(port, "127.0.0.1");
  log("INFO", "Tule: waiting for a debugger");
  inspector.waitForDebugger();
}

const milliseconds = (since) => Number(process.hrtime.bigint() - since) / 1e6;

// -- requests

function contextOf(head, request) {
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: claim.version,
    functionName: claim.name,
    memoryLimitInMB: String(claim.memory_mb),
    logGroupName: claim.log_group,
    logStreamName: claim.log_stream,
    clientContext: head.client_context ?? undefined,
    identity: undefined,
    invokedFunctionArn: head.arn,
    awsRequestId: head.request_id,
    getRemainingTimeInMillis: () => Math.max(0, Math.trunc(head.deadline_ms - Number(process.hrtime.bigint()) / 1e6)),
    done: (error, value) => request.settle(error, value),
    fail: (error) => request.settle(error ?? "handled"),
    succeed: (value) => request.settle(null, value),
  };
}

function serve(head, body) {
  process.env._X_AMZN_TRACE_ID = head.trace;
  const request = { requestId: head.request_id, started: process.hrtime.bigint(), over: false };
  const context = contextOf(head, request);
  current = request;
  if (streams(handler)) {
    serveStream(request, context, body);
    return;
  }
  request.settle = (error, value) => {
    if (error !== null && error !== undefined) failed(request, error);
    else succeeded(request, value);
  };
  const callback = (error, value) => {
    if (request.called) return;
    request.called = true;
    request.value = value;
    if ((error ?? null) !== null || !context.callbackWaitsForEmptyEventLoop) request.settle(error, value);
  };
  whenIdle(request, () => {
    if (!request.called && isAsync(handler)) failed(request, fault("NodeJsExit", NEVER_SETTLED));
    else succeeded(request, request.value); // whoever called nobody back by then has no result
  });
  let result;
  try {
    result = handler(JSON.parse(body.toString("utf8")), context, callback);
  } catch (error) {
    failed(request, error);
    return;
  }
  if (typeof result?.then === "function") {
    result.then((value) => succeeded(request, value), (error) => failed(request, error));
  }
}

const isAsync = (candidate) => candidate.constructor?.name === "AsyncFunction";
const NEVER_SETTLED =
  "The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a Promise that was never settled. " +
  "For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes";

// A streamed answer is over when the stream has ended and the handler too; an error ends it wherever it is.
async function serveStream(request, context, body) {
  const send = (head, bytes, done) => channel.write(frame(CHUNK, head, bytes), done);
  const stream = new ResponseStream(send, highWaterMark(handler));
  const ended = new Promise((resolve) => stream.once("close", resolve));
  stream.once("error", () => {}); // told by the handler's own failure, or by its end without one
  try {
    const result = handler(JSON.parse(body.toString("utf8")), stream, context);
    if (typeof result?.then !== "function") throw "Streaming does not support non-async handlers.";
    if ((await result) !== undefined) console.warn("Streaming handlers ignore return values.");
    await ended;
    if (!stream.writableFinished) throw stream.errored ?? "Response stream is not finished.";
  } catch (error) {
    if (channel.writableLength) await new Promise((resolve) => channel.write("", resolve));
    failed(request, error);
    return;
  }
  answer(request, "", false);
}

// AWS lets a callback's answer go when the event loop has run dry. The channel must not keep the loop alive meanwhile.
function whenIdle(request, then) {
  channel.unref();
  request.idle = then;
  process.once("beforeExit", then);
}

function succeeded(request, value) {
  let text;
  try {
    text = JSON.stringify(value === undefined ? null : value);
  } catch (error) {
    failed(request, fault("MarshalError", `Unable to stringify response body as json: ${error.message}`));
    return;
  }
  answer(request, text, false);
}

function failed(request, error) {
  if (request.over) return;
  logError("Invoke Error", error);
  answer(request, describe(error), true);
}

function answer(request, value, isError) {
  if (request.over) return;
  request.over = true;
  current = null;
  if (request.idle) {
    process.off("beforeExit", request.idle);
    channel.ref();
  }
  const text = isError ? JSON.stringify(value) : (value ?? "null");
  const head = { error: isError ? value.errorType || "Error" : "", ms: milliseconds(request.started), memory_kb: process.resourceUsage().maxRSS };
  sendNow(DONE, head, Buffer.from(text));
}
