/** Swagger UI over the service's own description; nothing is loaded from another host. */
window.SwaggerUIBundle({
  url: "docs.json",
  dom_id: "#reference",
  deepLinking: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
});
