// Code that V8 has compiled: found in a folder that nobody here can write, or collected and handed over by the first
// instance of a function, before it serves anybody.
import fs from "node:fs";
import module from "node:module";
import path from "node:path";

const FOUND = "/var/compiled";
const DRAFT = "/tmp/.compiled";
const LEAST_BYTES = 32 * 1024; // below, finding it costs about what compiling does (ours)
const MOST_BYTES = 16 * 1024 * 1024;

// Before the function's first module is loaded.
export function begin(claim) {
  if (claim.compiled) module.enableCompileCache(FOUND);
  else if (claim.fill) module.enableCompileCache(DRAFT);
}

// What was compiled since: [names and sizes, all bytes], or null if there is nothing to hand over.
export function collect(claim) {
  if (!claim.fill || module.getCompileCacheDir?.()?.startsWith(DRAFT) !== true) return null;
  try {
    module.flushCompileCache();
    const files = fs.readdirSync(DRAFT, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const contents = files.map((entry) => fs.readFileSync(path.join(entry.parentPath, entry.name)));
    const bytes = Buffer.concat(contents);
    if (bytes.length < LEAST_BYTES || bytes.length > MOST_BYTES) return null;
    const user = new RegExp(`-${process.getuid()}$`); // each instance has another, and Node looks for its own
    const named = files.map((entry, at) => [`${path.basename(entry.parentPath).replace(user, "")}/${entry.name}`, contents[at].length]);
    return [named, bytes];
  } catch {
    return null; // no space in /tmp, for example: the next Tule tries again
  } finally {
    fs.rmSync(DRAFT, { recursive: true, force: true });
  }
}
