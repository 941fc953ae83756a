// Rows that are picked: how many, all at once, and no act on none of them.

const panels = document.getElementById("panels");
const bar = () => document.getElementById("selected");
const boxes = () => [...panels.querySelectorAll('input[name="ids"][type="checkbox"]')];

function count() {
  if (!bar()) return;
  const picked = boxes().filter((box) => box.checked).length;
  const all = document.getElementById("pick-all");
  all.checked = picked > 0 && picked === boxes().length;
  all.indeterminate = picked > 0 && !all.checked;
  document.getElementById("picked").textContent = picked ? `${picked} selected` : "None selected";
  for (const button of bar().querySelectorAll("button")) button.disabled = !picked;
  bar().dataset.picked = picked;
}

document.addEventListener("change", ({ target }) => {
  if (target.id === "pick-all") for (const box of boxes()) box.checked = target.checked;
  else if (target.name !== "ids") return;
  count();
});
panels.addEventListener("refreshed", count);
addEventListener("pageshow", count); // a browser that goes back keeps what was picked
