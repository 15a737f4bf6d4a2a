// The same as in layers.mjs for Node 20, which runs hooks in a thread of their own.
import module from "node:module";

const RUNTIME = "file:///var/node_modules/";
const isBare = (specifier) => !/^([./#]|[a-z]+:)/.test(specifier) && !module.isBuiltin(specifier);
let layers;

export function initialize(parentURL) {
  layers = parentURL;
}

export async function resolve(specifier, context, next) {
  let found;
  let failure;
  try {
    found = await next(specifier, context);
    if (!isBare(specifier) || !found.url.startsWith(RUNTIME)) return found;
  } catch (error) {
    if (!isBare(specifier)) throw error;
    failure = error;
  }
  try {
    return await next(specifier, { ...context, parentURL: layers });
  } catch {
    if (failure) throw failure;
    return found;
  }
}
