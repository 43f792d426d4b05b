// Live updates of a page: live("/ws/notifications/", "/events/notifications/", after, item => …)
//
// Comes back after each break (a release closes with code 1012) and asks for what it has missed. Each page waits for a
// time of its own first, so that a thousand of them do not come at once. Where WebSockets do not get through, such as
// behind some companies' proxies, it takes server-sent events.
//
// after: the highest id that the page has already, or null for what comes from now on. Returns a function that ends it.
export function live(socketPath, eventsPath, after, onItem) {
  const UNAUTHORIZED = 3000; // logged out: to come back would change nothing
  let last = after;
  let breaks = 0; // since something last came through
  let stopped = false;
  let open = null;

  const address = (path) => new URL(path + (last === null ? "" : `?after=${last}`), location.href);

  const take = (data) => {
    const item = JSON.parse(data);
    if (last !== null && item.id <= last) return;
    last = item.id;
    onItem(item);
  };

  const again = () => {
    breaks += 1;
    const longest = Math.min(30000, 1000 * 2 ** breaks);
    setTimeout(begin, longest * (0.1 + 0.9 * Math.random()));
  };

  const begin = () => {
    if (stopped) return;
    // Two tries that never opened: whatever is in between does not know WebSockets.
    if (breaks >= 2 && !opened) events();
    else socket();
  };

  let opened = false; // a WebSocket, once

  const socket = () => {
    const url = address(socketPath);
    url.protocol = url.protocol.replace("http", "ws");
    open = new WebSocket(url);
    open.onopen = () => {
      opened = true;
      breaks = 0;
    };
    open.onmessage = (message) => take(message.data);
    open.onclose = (event) => {
      if (event.code !== UNAUTHORIZED) again();
    };
  };

  const events = () => {
    open = new EventSource(address(eventsPath));
    open.onopen = () => (breaks = 2);
    open.onmessage = (message) => take(message.data);
    open.onerror = () => {
      open.close(); // it would ask for what came after the same id each time
      again();
    };
  };

  socket();
  return () => {
    stopped = true;
    open.close();
  };
}
