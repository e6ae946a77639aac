(function () {
  "use strict";
  const contents = document.querySelector(".contents details"), narrow = matchMedia("(max-width: 1179px)");
  const links = new Map([...contents.querySelectorAll("a")].map((link) => [targetOf(link), link]));
  const inSight = new Set();

  function targetOf(link) {
    return document.getElementById(link.getAttribute("href").slice(1));
  }

  /* On a phone the contents are folded until they are asked for. */
  function fold() {
    contents.open = !narrow.matches;
  }
  fold();
  narrow.addEventListener("change", fold);
  contents.addEventListener("click", (event) => event.target.closest("a") && fold());

  /* A sandboxed frame made of a blob, as MLflow shows the page in, refuses to follow links into itself. */
  if (location.protocol === "blob:") {
    document.querySelectorAll(".contents a, .skip, .findings a").forEach((link) => {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        targetOf(link).setAttribute("tabindex", "-1");
        targetOf(link).focus({ preventScroll: true });
        targetOf(link).scrollIntoView();
      });
    });
  }

  const observer = new IntersectionObserver((entries) => {
    entries.forEach(({ target, isIntersecting }) => inSight[isIntersecting ? "add" : "delete"](target));
    const here = [...links.keys()].find((section) => inSight.has(section));
    links.forEach((link, section) => {
      if (section === here) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
  }, { root: document, rootMargin: "-10% 0px -60% 0px" });
  links.forEach((link, section) => observer.observe(section));
})();
