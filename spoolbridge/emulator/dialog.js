// One question with one line for an answer: the name of a thread, the name of somebody new.

const $ = (id) => document.getElementById(id);

// `act(answer)` may refuse by throwing: its sentence is shown and the dialog stays.
export function askName({ title, hint, button, value = "", most = 100 }, act) {
  const dialog = $("dialog");
  const field = $("wanted");
  dialog.querySelector("h2").textContent = title;
  $("why").textContent = hint;
  dialog.querySelector("[type=submit]").textContent = button;
  field.maxLength = most;
  field.value = value;
  complain("");
  dialog.querySelector("form").onsubmit = async (event) => {
    event.preventDefault();
    try {
      await act(field.value.trim());
      dialog.close();
    } catch (wrong) {
      complain(wrong.message);
    }
  };
  dialog.querySelector("[type=button]").onclick = () => dialog.close();
  dialog.showModal();
  field.select();
}

function complain(sentence) {
  $("wrong").textContent = sentence;
  $("wrong").hidden = !sentence;
}
