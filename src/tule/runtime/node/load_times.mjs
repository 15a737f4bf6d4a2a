// How long modules took to load in a cold start, as they nest. Of ES modules only the handler's whole is known: what they
// import is linked before any of it runs. CommonJS modules, required or imported, are told one by one.
import path from "node:path";

const LEAST_MS = 0.1; // what took less, with all that it loaded, is not told (ours)
const MOST = 400; // and no more modules than this

export class LoadTimes {
  // Times loads from here to stop(). `handler` is what the function's configuration calls it.
  constructor(Module, root, handler) {
    this.root = root;
    this.module = Module;
    this.load = Module._load;
    this.began = performance.now();
    this.all = { name: handler.slice(0, handler.lastIndexOf(".")) || handler, depth: 0, ms: 0, below: 0 };
    this.entries = [this.all];
    this.stack = [this.all];
    const times = this;
    Module._load = function (request, parent, ...rest) {
      return times.timed(this, request, parent, rest);
    };
  }

  timed(self, request, parent, rest) {
    const { stack } = this;
    const entry = { request, from: parent?.filename, depth: stack.length, ms: 0, below: 0 };
    this.entries.push(entry);
    stack.push(entry);
    const began = performance.now();
    try {
      return this.load.call(self, request, parent, ...rest);
    } finally {
      entry.ms = performance.now() - began;
      stack.pop();
      stack.at(-1).below += entry.ms;
    }
  }

  // [module, depth, microseconds of its own, microseconds with what it loaded], in the order of loading.
  stop() {
    this.module._load = this.load;
    this.all.ms = performance.now() - this.began;
    let least = LEAST_MS;
    if (this.entries.length > MOST) {
      const sorted = this.entries.map(({ ms }) => ms).sort((a, b) => b - a);
      least = Math.max(least, sorted[MOST - 1]);
    }
    this.unite();
    const kept = this.entries.filter(({ ms }) => ms >= least);
    return kept.map((one) => [this.named(one), one.depth, Math.round((one.ms - one.below) * 1000), Math.round(one.ms * 1000)]);
  }

  // The handler's own file is the whole: what it loads stands right below that.
  unite() {
    const at = this.entries.findIndex((one) => one.depth === 1 && this.named(one).replace(/\.[cm]?js$/, "") === this.all.name);
    if (at < 0) return;
    const [own] = this.entries.splice(at, 1);
    this.all.below += own.below - own.ms;
    for (let index = at; this.entries[index]?.depth > 1; index++) this.entries[index].depth--;
  }

  // A package by its name, a file of the function's own by its path in the package.
  named({ name, request, from }) {
    if (name) return name;
    const file = request.startsWith("file:") ? decodeURIComponent(request.slice(7)) : request;
    if (!/^[./]/.test(file)) return file;
    const whole = path.resolve(from ? path.dirname(from) : this.root, file);
    const packaged = whole.lastIndexOf("/node_modules/");
    return packaged >= 0 ? whole.slice(packaged + 14) : path.relative(this.root, whole);
  }
}
