// Start Swagger UI. In a file of its own, because the site's Content-Security-Policy allows no inline script.

const ui = document.getElementById("swagger-ui");

SwaggerUIBundle({
  url: ui.dataset.schema,
  domNode: ui,
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null, // it would ask a server elsewhere
  // For who is logged in to the site, and has given no token.
  requestInterceptor: (request) => {
    request.headers["X-CSRFToken"] = ui.dataset.csrf;
    return request;
  },
});
