"use strict";
(() => {
	// Titles as soon as one points at something; without this script browsers show them after a while.
	const tip = document.createElement("div");
	tip.id = "tip";
	tip.hidden = true;
	document.body.append(tip);
	const show = (text, event) => {
		tip.textContent = text;
		tip.hidden = false;
		const x = event.clientX + 14, y = event.clientY + 16;
		tip.style.left = Math.max(4, Math.min(x, innerWidth - tip.offsetWidth - 8)) + "px";
		tip.style.top = (y + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : y) + "px";
	};
	document.addEventListener("mousemove", event => {
		const svg = event.target.closest && event.target.closest("svg");
		if (svg && svg.dataset.bin)
			return;
		const at = svg && event.target.closest("[data-tip],rect,g:has(> title),svg");
		const title = at && at.querySelector(":scope > title");
		if (title) {
			at.dataset.tip = title.textContent;
			at.setAttribute("aria-label", title.textContent);
			title.remove();
		}
		if (at && at.dataset.tip)
			show(at.dataset.tip, event);
		else
			tip.hidden = true;
	});
	document.addEventListener("mouseleave", () => { tip.hidden = true; });

	// Where the pointer is in the units of a chart.
	const left = 120, right = 992;
	const unit = (svg, event) => {
		const box = svg.getBoundingClientRect();
		return Math.max(left, Math.min(right, (event.clientX - box.left) / box.width * 1000));
	};
	// At most two units, and none that is 0.
	const elapsed = usec => {
		if (usec < 6e7)
			return +(usec / 1e6).toPrecision(4) + " s";
		const out = [];
		let sec = Math.round(usec / 1e6);
		for (const [n, name] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
			out.push([Math.floor(sec / n), name]);
			sec %= n;
		}
		const first = out.findIndex(([n]) => n);
		return out.slice(first, first + 2).filter(([n]) => n).map(([n, name]) => n + " " + name).join(" ");
	};

	// Values below the pointer.
	for (const svg of document.querySelectorAll("svg[data-bin]")) {
		const from = +svg.dataset.from, to = +svg.dataset.to, bin = +svg.dataset.bin, first = +svg.dataset.first;
		const cross = svg.querySelector(".cross");
		const lines = [...svg.querySelectorAll(".line")].map(g => [g.dataset.name, g.dataset.v.split(",").map(Number)]);
		svg.addEventListener("mousemove", event => {
			const x = unit(svg, event), at = from + (to - from) * (x - left) / (right - left);
			const i = Math.floor(at / bin) - first;
			cross.setAttribute("d", "M" + x + " 0V318");
			show(["after " + elapsed(at - from)].concat(lines.map(([name, v]) =>
				name + " " + (v[i] === undefined ? 0 : Math.round(v[i] * 10) / 10).toLocaleString("en"))).join("\n"), event);
		});
		svg.addEventListener("mouseleave", () => { cross.setAttribute("d", ""); tip.hidden = true; });
	}

	// Zoom: the bars are stretched, the axis is made anew.
	const time = document.getElementById("time"), bars = document.getElementById("bars");
	const axis = time && time.querySelector(".axis"), hint = document.querySelector(".hint");
	if (time && bars && axis) {
		const whole = axis.innerHTML, height = time.viewBox.baseVal.height - 20, span = +time.dataset.to - +time.dataset.from;
		const ns = "http://www.w3.org/2000/svg", pick = document.createElementNS(ns, "rect");
		let view = [left, right], begun = null;
		pick.id = "pick";
		pick.setAttribute("height", height);
		time.append(pick);
		hint.hidden = false;
		const step = usec => {
			const long = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
			const short = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4];
			return short.map(s => s * 1e3).concat(long.map(s => s * 1e6)).find(s => usec / s <= 8) || usec / 8;
		};
		const look = (a, b) => {
			const k = (right - left) / (b - a), all = b - a > right - left - 1;
			view = all ? [left, right] : [a, b];
			bars.setAttribute("transform", all ? "" : `translate(${left - a * k} 0) scale(${k} 1)`);
			if (all) {
				axis.innerHTML = whole;
				return;
			}
			const at = x => span * (x - left) / (right - left), s = step(at(b) - at(a));
			axis.replaceChildren();
			for (let t = Math.ceil(at(a) / s) * s; t <= at(b); t += s) {
				const x = left + (t - at(a)) / (at(b) - at(a)) * (right - left);
				const line = document.createElementNS(ns, "path"), text = document.createElementNS(ns, "text");
				line.setAttribute("d", `M${x} 0V${height}`);
				text.setAttribute("x", x);
				text.setAttribute("y", height + 14);
				text.textContent = elapsed(t);
				if (x > right - 30)
					text.setAttribute("class", "end");
				axis.append(line, text);
			}
		};
		const real = x => view[0] + (x - left) / (right - left) * (view[1] - view[0]);
		time.addEventListener("mousedown", event => { begun = unit(time, event); event.preventDefault(); });
		addEventListener("mousemove", event => {
			if (begun === null)
				return;
			const x = unit(time, event);
			pick.setAttribute("x", Math.min(begun, x));
			pick.setAttribute("width", Math.abs(x - begun));
		});
		addEventListener("mouseup", event => {
			if (begun === null)
				return;
			const a = real(Math.min(begun, unit(time, event))), b = real(Math.max(begun, unit(time, event)));
			if ((b - a) * (right - left) / (view[1] - view[0]) > 6)
				look(a, b);
			begun = null;
			pick.setAttribute("width", 0);
		});
		const out = () => look(left, right);
		time.addEventListener("dblclick", out);
		document.getElementById("out").addEventListener("click", out);
	}

	// Tables are sorted by the heading that is clicked.
	for (const th of document.querySelectorAll("thead th")) {
		if (!th.textContent)
			continue;
		th.className += " sorts";
		th.tabIndex = 0;
		const sort = () => {
			const i = th.cellIndex, body = th.closest("table").tBodies[0], is_number = th.classList.contains("n");
			const down = th.getAttribute("aria-sort") ? th.getAttribute("aria-sort") === "ascending" : is_number;
			const value = row => {
				const cell = row.cells[i], text = cell.dataset.v || cell.textContent;
				return is_number ? parseFloat(text) || 0 : text;
			};
			const compare = (a, b) => is_number ? value(a) - value(b) : value(a).localeCompare(value(b), "en", {numeric: true});
			for (const other of th.parentNode.cells)
				other.removeAttribute("aria-sort");
			th.setAttribute("aria-sort", down ? "descending" : "ascending");
			body.append(...[...body.rows].sort((a, b) => down ? compare(b, a) : compare(a, b)));
		};
		th.addEventListener("click", sort);
		th.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
	}
})();
