// The box: who writes, what, with which files, in answer to what. Its state is what it shows.

import { askName } from "/dialog.js";
import { size } from "/files.js";
import { element } from "/markup.js";
import { shownName } from "/message.js";

const MOST = 10; // files a message
const NEW = "\n"; // the value of the choice to be somebody new: no name has a line break

const $ = (id) => document.getElementById(id);
const held = { files: [], reply: null, human: "" };

export const writer = () => held.human;

export function note(text = "") {
  $("note").textContent = text;
  $("note").hidden = !text;
}

// ---- Who writes

export function drawHumans(humans) {
  const chosen = humans.some((human) => human.username === held.human) ? held.human : humans[0]?.username;
  $("human").replaceChildren(...humans.map(choice), new Option("Somebody new…", NEW));
  be(chosen ?? "");
}

const choice = (human) => new Option(shownName(human), human.username);

export function newcomer(human) {
  const known = [...$("human").options].find((one) => one.value === human.username);
  if (known) known.textContent = shownName(human);
  else $("human").insertBefore(choice(human), $("human").lastElementChild);
}

function be(username) {
  held.human = username;
  $("human").value = username;
  $("human").dispatchEvent(new CustomEvent("writer", { bubbles: true }));
}

function chosen() {
  const wanted = $("human").value;
  if (wanted !== NEW) return be(wanted);
  $("human").value = held.human;
  const hint = "They join the guild with the first thing that they write.";
  return askName({ title: "Write as somebody new", hint, button: "Join", most: 32 }, (name) => {
    if (!name) throw new Error("Give a name.");
    newcomer({ username: name });
    be(name);
  });
}

// ---- What is written

export function answerTo(message, text) {
  held.reply = message?.id ?? null;
  $("answering").hidden = !message;
  if (!message) return;
  $("answering").querySelector("span").textContent = `Replying to ${shownName(message.author)}: ${text}`;
  $("text").focus();
}

function attach(files) {
  held.files = [...held.files, ...files];
  if (held.files.length > MOST) note(`A message takes ${MOST} files; the first ${MOST} are kept.`);
  held.files = held.files.slice(0, MOST);
  const names = held.files.map((file) => `${file.name} · ${size(file.size)}`);
  $("attached").hidden = !names.length;
  $("attached").querySelector("span").textContent = names.join(", ");
  $("file").value = "";
  $("text").focus();
}

function detach() {
  held.files = [];
  attach([]);
}

function grow() {
  $("text").style.height = "auto";
  $("text").style.height = `${Math.min($("text").scrollHeight, 200)}px`;
}

function form(channel, text) {
  const body = new FormData();
  const said = { channel, author: held.human, text, reply_to: held.reply };
  body.append("payload_json", JSON.stringify(said));
  held.files.forEach((file, index) => body.append(`files[${index}]`, file, file.name));
  return body;
}

// `here()` is the id of the channel to write to, `ask` a request of the emulator, `after()` follows a message.
export function openBox({ here, ask, after }) {
  async function say(event) {
    event.preventDefault();
    const text = $("text").value.trim();
    if (!text && !held.files.length) return;
    try {
      const answer = await ask("/_emulator/say", { method: "POST", body: form(here(), text) });
      note(answer.armed ? `Armed: the bot’s next message here meets ${answer.armed}` : "");
      $("text").value = "";
      detach();
      answerTo(null);
      grow();
      after();
    } catch (wrong) {
      note(wrong.message);
    }
  }
  $("box").onsubmit = say;
  $("text").oninput = grow;
  $("text").onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) say(event);
  };
  $("text").onpaste = (event) => attachFrom(event, event.clipboardData);
  $("file").onchange = () => attach($("file").files);
  $("human").onchange = chosen;
  $("answering").querySelector("button").onclick = () => answerTo(null);
  $("attached").querySelector("button").onclick = detach;
  const main = document.querySelector("main");
  main.ondragover = (event) => event.preventDefault();
  main.ondrop = (event) => !$("box").hidden && attachFrom(event, event.dataTransfer);
}

function attachFrom(event, given) {
  if (!given.files.length) return;
  event.preventDefault();
  attach(given.files);
}

// The faults that can be typed, each a button that writes it into the box.
export function drawWords(words, chosenOne) {
  for (const { word, meaning } of words) {
    const button = element("button", "", element("code", "", word), element("span", "", meaning));
    button.type = "button";
    button.onclick = () => {
      $("text").value = word;
      chosenOne();
      $("text").focus();
    };
    $("words").append(element("li", "", button));
  }
}
