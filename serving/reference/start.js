/** Swagger UI over the service's own description; nothing is asked of another host. */
window.SwaggerUIBundle({
  url: "docs.json",
  dom_id: "#reference",
  deepLinking: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
});
