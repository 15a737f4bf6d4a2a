// Packages of layers: found by import and by require, before the runtime's own and after the function's.
import module from "node:module";
import { pathToFileURL } from "node:url";

const RUNTIME = "file:///var/node_modules/";
const isBare = (specifier) => !/^([./#]|[a-z]+:)/.test(specifier) && !module.isBuiltin(specifier);

// `folder` is where a look-up begins: /opt/nodejs/node22 leads to its own node_modules and to /opt/nodejs/node_modules.
export function lookIn(folder) {
  const parentURL = pathToFileURL(`${folder}/layer.mjs`).href;
  module._initPaths(); // NODE_PATH, which was not there when the process started
  if (module.registerHooks) module.registerHooks({ resolve: (...asked) => resolve(parentURL, ...asked) });
  else module.register("./layer_hooks.mjs", import.meta.url, { data: parentURL });
}

function resolve(parentURL, specifier, context, next) {
  let found;
  let failure;
  try {
    found = next(specifier, context);
    if (!isBare(specifier) || !found.url.startsWith(RUNTIME)) return found;
  } catch (error) {
    if (!isBare(specifier)) throw error;
    failure = error;
  }
  try {
    return next(specifier, { ...context, parentURL });
  } catch {
    if (failure) throw failure;
    return found;
  }
}
