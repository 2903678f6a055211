// The one dialog: opened with a title and content, closed by Escape, by its button, or by clicking beside it.

import { button, element } from "./pixels.js";

export function openDialog(title, content, { onclose = () => {}, wide = false } = {}) {
  const dialog = document.getElementById("dialog");
  if (dialog.open) dialog.close();
  dialog.className = wide ? "wide" : "";
  const close = button("×", () => dialog.close(), { className: "close", title: "Close (Escape)" });
  close.setAttribute("aria-label", "Close");
  dialog.replaceChildren(element("div", { className: "title" }, element("h2", { text: title, id: "dialog-title" }), close), ...content);
  dialog.setAttribute("aria-labelledby", "dialog-title");
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.onclose = onclose;
  dialog.showModal();
  return () => dialog.close();
}
