// A line under the pointer, and what was counted at that moment.
(function () {
  var holder = document.getElementById("readings");
  if (!holder) return;
  var data = JSON.parse(holder.textContent);
  function clock(s) {
    var m = Math.floor(s / 60), h = Math.floor(m / 60), two = function (n) { return (n < 10 ? "0" : "") + n; };
    return (h ? h + ":" + two(m % 60) : m) + ":" + two(Math.floor(s % 60));
  }
  function at(rows, t) {
    var low = 0, high = rows.length;
    while (low < high) { var mid = (low + high) >> 1; if (rows[mid][0] <= t) low = mid + 1; else high = mid; }
    return low ? rows[low - 1] : null;
  }
  function read(t) {
    var lines = [clock(t) + " since the start"];
    Object.keys(data.groups).forEach(function (name) {
      var r = at(data.groups[name], t);
      if (r) lines.push(name + ": " + r[2] + " ready of " + r[1] + " nodes, " + r[4] + " old, " + r[5] + " new");
    });
    if (lines.length > 9) lines = lines.slice(0, 9).concat("…");
    var p = at(data.pods, t);
    if (p) lines.push("pods: " + p[1] + " pending, " + p[2] + " starting");
    return lines.join("\n");
  }
  Array.prototype.forEach.call(document.querySelectorAll("svg.run"), function (svg) {
    var d = svg.dataset, first = +d.first, last = +d.last, left = +d.left, right = +d.right;
    var tip = document.createElement("div"), line = document.createElementNS(svg.namespaceURI, "line");
    tip.className = "tip"; tip.hidden = true;
    line.setAttribute("class", "pointer"); line.setAttribute("visibility", "hidden");
    line.setAttribute("y1", 0); line.setAttribute("y2", svg.viewBox.baseVal.height);
    svg.appendChild(line); svg.parentNode.appendChild(tip);
    function hide() { tip.hidden = true; line.setAttribute("visibility", "hidden"); }
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointermove", function (e) {
      var box = svg.getBoundingClientRect(), x = (e.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
      if (x < left || x > right) return hide();
      line.setAttribute("x1", x); line.setAttribute("x2", x); line.setAttribute("visibility", "visible");
      tip.textContent = read(first + (x - left) / (right - left) * (last - first)); tip.hidden = false;
      var room = svg.parentNode.getBoundingClientRect(), px = e.clientX - room.left, py = e.clientY - room.top;
      tip.style.left = (px + tip.offsetWidth + 24 > room.width ? px - tip.offsetWidth - 14 : px + 14) + "px";
      tip.style.top = (py + 14) + "px";
    });
  });
})();
