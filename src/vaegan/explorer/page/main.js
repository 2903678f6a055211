// The live page: the explorer around a model that the server runs.

import { Explorer } from "./explorer.js";
import { SocketModel } from "./socket.js";

const model = new SocketModel();
try {
  await model.open();
  const explorer = new Explorer(model);
  model.onLost = () => explorer.say("The explorer has stopped. Start it again: vaegan explore RUN");
  model.onBack = () => explorer.say("The explorer is back.");
  await explorer.start();
} catch (error) {
  const place = document.getElementById("said");
  place.textContent = error.message;
  place.classList.add("shown");
}
