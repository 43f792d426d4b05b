// Times in the visitor's own time zone, and with the part live new notifications at the top of the list, as they come.

const list = document.getElementById("notifications");
const template = document.getElementById("notification");

function showTime(time) {
  time.textContent = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "long", timeStyle: "short" });
}

/** Put a notification ({id, text, created}) at the top, once: whatever arrives twice is shown once. */
function show(notification) {
  if (list.querySelector(`[data-id="${Number(notification.id)}"]`)) return;
  const item = template.content.firstElementChild.cloneNode(true);
  item.dataset.id = notification.id;
  item.querySelector(".text").textContent = notification.text;
  item.querySelector("time").dateTime = notification.created;
  showTime(item.querySelector("time"));
  list.prepend(item);
}

list.querySelectorAll("time").forEach(showTime);

if (list.dataset.live) {
  const { live } = await import(list.dataset.live);
  live("/ws/notifications/", "/events/notifications/", Number(list.dataset.last), show);
}
