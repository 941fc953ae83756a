// Sending by an upload link, with progress. Without scripts the form does the same.

const form = document.getElementById("guest");
const bar = document.getElementById("sending");
const says = document.getElementById("says");

function say(text) {
  says.hidden = !text;
  says.textContent = text;
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const files = [...form.elements.file.files];
  const large = files.find((file) => file.size > Number(form.dataset.maxBytes));
  if (large) {
    say(`${large.name} is larger than the ${form.dataset.max} that may come by this link.`);
    return;
  }
  const request = new XMLHttpRequest(); // fetch tells no progress of what is sent
  request.open("POST", form.getAttribute("action"));
  request.responseType = "document";
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = total ? loaded / total : 0;
    say(loaded < total ? `Sending, ${Math.floor((100 * loaded) / total)}%` : "Sent; waiting for the server");
  });
  request.addEventListener("load", () => {
    document.querySelector("main").replaceWith(request.response.querySelector("main"));
    document.querySelector("main").focus();
  });
  request.addEventListener("error", () => {
    bar.hidden = true;
    form.querySelector("button").disabled = false;
    say("The connection was lost. Nothing was received; send it again.");
  });
  request.setRequestHeader("Accept", "text/html");
  request.send(new FormData(form));
  bar.hidden = false;
  form.querySelector("button").disabled = true;
});
