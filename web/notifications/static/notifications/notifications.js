// Times in the visitor's own time zone, and new notifications at the top of the list.

const list = document.getElementById("notifications");
const template = document.getElementById("notification");

function showTime(time) {
  time.textContent = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "long", timeStyle: "short" });
}

/** Put a notification ({id, text, created}) at the top, once: whatever arrives twice is shown once. */
export function show(notification) {
  if (list.querySelector(`[data-id="${Number(notification.id)}"]`)) return;
  const item = template.content.firstElementChild.cloneNode(true);
  item.dataset.id = notification.id;
  item.querySelector(".text").textContent = notification.text;
  item.querySelector("time").dateTime = notification.created;
  showTime(item.querySelector("time"));
  list.prepend(item);
  list.dataset.last = Math.max(Number(list.dataset.last), notification.id);
}

/** The id after which to ask for what was missed. */
export function last() {
  return Number(list.dataset.last);
}

list.querySelectorAll("time").forEach(showTime);
