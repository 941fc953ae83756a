// Looks for words in the texts of pages, and goes from one place to the next.

const MAX_FOUND = 1000;

/** A pattern for the words as they are typed: any case, and any white space between them. */
function patternOf(words) {
  const escaped = words.trim().split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"));
  return new RegExp(escaped.join("\\s+"), "giu");
}

export class Search {
  #found = []; // {page, start, end}
  #at = -1;

  /** Calls `show(page, mark)` with a page's place in `texts`; `mark(element)` shows where it is. */
  constructor(form, texts, show) {
    Object.assign(this, { form, texts, show });
    this.field = form.querySelector("input");
    this.field.addEventListener("input", () => this.#look());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#go(1);
    });
    for (const button of form.querySelectorAll("[data-found]")) {
      button.addEventListener("click", () => this.#go(button.dataset.found === "back" ? -1 : 1));
    }
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.shiftKey) {
        event.preventDefault();
        this.#go(-1);
      }
      if (event.key === "Escape" && this.field.value) {
        event.preventDefault(); // the first one empties the field, the next closes the view
        this.field.value = "";
        this.#look();
      }
    });
    this.#tell();
  }

  #look() {
    this.#found = this.field.value.trim() ? this.#all(patternOf(this.field.value)) : [];
    this.#at = -1;
    if (this.#found.length) this.#go(1);
    else this.#tell();
  }

  #all(pattern) {
    const found = [];
    for (const [page, text] of this.texts.entries()) {
      for (const { index: start, 0: { length } } of (text ?? "").matchAll(pattern)) {
        found.push({ page, start, end: start + length });
        if (found.length === MAX_FOUND) return found;
      }
    }
    return found;
  }

  #go(by) {
    const { length } = this.#found;
    if (!length) return;
    this.#at = (this.#at + by + length) % length;
    const { page } = this.#found[this.#at];
    this.show(page, (element) => this.#mark(element, this.texts[page]));
    this.#tell();
  }

  /** All of the page's places, the one that is meant in view. */
  #mark(element, text) {
    const now = this.#found[this.#at];
    const pieces = [];
    let done = 0;
    for (const place of this.#found.filter(({ page }) => page === now.page)) {
      const mark = document.createElement("mark");
      mark.textContent = text.slice(place.start, place.end);
      mark.toggleAttribute("data-now", place === now);
      pieces.push(text.slice(done, place.start), mark);
      done = place.end;
    }
    element.replaceChildren(...pieces, text.slice(done));
    element.querySelector("mark[data-now]").scrollIntoView({ block: "nearest" });
  }

  #tell() {
    const { length } = this.#found;
    const many = length === MAX_FOUND ? `${length} and more` : length;
    const words = !this.field.value.trim() ? "" : length ? `${this.#at + 1} of ${many}` : "Not found";
    this.form.querySelector(".reader-found").textContent = words;
    for (const button of this.form.querySelectorAll("[data-found]")) button.disabled = !length;
  }
}
