(function () {
  var form = document.querySelector(".filters"), cards = document.querySelectorAll(".card");
  var variant = document.getElementById("by-variant"), label = document.getElementById("by-class");
  function show() {
    var num = 0;
    cards.forEach(function (card) {
      var fits = (!variant.value || card.dataset.variant === variant.value)
        && (!label.value || card.dataset.class === label.value);
      card.hidden = !fits;
      num += fits;
    });
    document.getElementById("num-shown").textContent = num + (num === 1 ? " example" : " examples");
  }
  if (!cards.length) return;
  form.hidden = false;
  form.addEventListener("change", show);
  show();
})();
