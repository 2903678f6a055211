// The page without a server: what it needs lies in the file itself, and the runtime too, or it is fetched and checked.

import { Explorer } from "./explorer.js";
import { fromBase64 } from "./latents.js";
import { CarriedImages, OnnxModel } from "./onnx.js";
import { bytesFromText, interleaved } from "./packing.js";
import { unpacked } from "./socket.js";

const held = (id) => document.getElementById(id);

/** The bytes of a deflated part of the file. */
async function bytesOf(id) {
  try {
    const { textContent, dataset } = held(id);
    const deflated = new Blob([bytesFromText(textContent, Number(dataset.bytes))]);
    held(id).remove(); // the text is of no more use
    const stream = deflated.stream().pipeThrough(new DecompressionStream("deflate"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    return dataset.planes ? interleaved(bytes) : bytes;
  } catch {
    throw new Error("This file is damaged: it did not come whole. Get it again.");
  }
}

const NO_RUNTIME =
  "The runtime did not come, or is not the one that this file names: it needs the network once. Ask for one that was made without --cdn.";

/** The bytes of a file of the network; the browser refuses others than its checksum says. */
async function fetched({ url, integrity }) {
  try {
    return new Uint8Array(await (await fetch(url, { integrity })).arrayBuffer());
  } catch {
    throw new Error(NO_RUNTIME);
  }
}

async function runtime(facts) {
  const { ort } = globalThis;
  if (!ort) throw new Error(NO_RUNTIME);
  const [glue, binary] = await Promise.all(
    facts.cdn ? [fetched(facts.cdn.glue), fetched(facts.cdn.binary)] : [bytesOf("runtime-glue"), bytesOf("runtime-binary")],
  );
  ort.env.wasm.numThreads = 1; // threads need headers that a file does not have
  const address = (bytes, type) => URL.createObjectURL(new Blob([bytes], { type }));
  ort.env.wasm.wasmPaths = { mjs: address(glue, "text/javascript"), wasm: address(binary, "application/wasm") };
  ort.env.logLevel = "error";
  return ort;
}

async function carried(facts) {
  if (!facts.images) return null;
  const sheet = await createImageBitmap(new Blob([(await wholeFile(), await bytesOf("sheet"))], { type: facts.images.type }));
  return new CarriedImages(facts.images, sheet, facts.description);
}

/** The parts behind this script in the file are there once all of it is read. */
function wholeFile() {
  return new Promise((resolve) => {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", resolve, { once: true });
    else resolve();
  });
}

async function begin() {
  const facts = JSON.parse(new TextDecoder().decode(await bytesOf("facts")));
  const description = unpacked(facts.description);
  // What is shown first comes first in the file; the rest is opened when somebody wants it.
  const later = async (id) => (await wholeFile(), bytesOf(id));
  const [first, ...others] = description.stages;
  const [ort, images, network] = await Promise.all([runtime(facts), carried(facts), bytesOf(`network-${first}`)]);
  const networks = { [first]: async () => network };
  for (const stage of others) networks[stage] = () => later(`network-${stage}`);
  const model = await new OnnxModel({ description, networks, encoder: () => later("encoder"), images }, ort).open();
  const explorer = new Explorer(model);
  globalThis.explorer = explorer; // for whoever opens the console
  await explorer.start();
  if (facts.said) explorer.say(facts.said);
}

begin().catch((error) => {
  const place = held("said");
  place.textContent = error.message;
  place.classList.add("shown");
});
