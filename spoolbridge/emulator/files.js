// What is attached to a message: pictures inline, sounds to be played, everything else by name and size.

import { element, icon } from "/markup.js";

const PAPER = "M7 3h7l4 4v14H7zM14 3v4h4M10 12h5M10 16h5";
const PICTURE = /^image\/(png|jpe?g|gif|webp|avif)$/;
const SOUND = /^audio\/[\w.+-]+$/;

export function file(attachment) {
  const address = new URL(attachment.url);
  const here = address.pathname + address.search;
  const kind = attachment.content_type ?? "";
  if (SOUND.test(kind)) return sound(attachment, here);
  const made = element("a", PICTURE.test(kind) ? "picture" : "file");
  made.href = here;
  made.target = "_blank";
  made.rel = "noopener";
  made.append(...(PICTURE.test(kind) ? [picture(attachment, here)] : named(attachment)));
  return made;
}

function picture(attachment, here) {
  const made = element("img");
  // Its size keeps its place while it loads, so that the log does not jump.
  if (attachment.width) Object.assign(made, { width: attachment.width, height: attachment.height });
  made.src = here;
  made.alt = attachment.description ?? attachment.filename;
  made.onload = () => {
    made.dispatchEvent(new CustomEvent("grown", { bubbles: true, detail: made.clientHeight }));
  };
  return made;
}

function sound(attachment, here) {
  const made = element("audio", "sound");
  Object.assign(made, { controls: true, preload: "none", src: here });
  made.setAttribute("aria-label", attachment.filename);
  return made;
}

function named(attachment) {
  const length = element("span", "", size(attachment.size));
  return [icon(PAPER), element("div", "", element("b", "", attachment.filename), length)];
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}
