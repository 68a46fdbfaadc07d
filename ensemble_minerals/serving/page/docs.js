"use strict";
(async () => {
  const api = await (await fetch("openapi.json")).json();
  const place = document.getElementById("paths");
  const add = (parent, tag, text) => { const node = parent.appendChild(document.createElement(tag)); node.textContent = text; return node; };
  const resolve = schema => (schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema);
  const type = schema => schema?.$ref?.split("/").pop() ?? schema?.type ?? (schema?.anyOf ?? []).map(type).join(" or ");
  function fields(section, title, content) {
    const schema = resolve(Object.values(content ?? {})[0]?.schema);
    if (!schema?.properties) return;
    add(section, "h3", `${title}: ${Object.keys(content)[0]}`);
    const list = section.appendChild(document.createElement("ul"));
    for (const [name, value] of Object.entries(schema.properties)) add(list, "li", `${name}: ${type(value)}${value.description ? ` (${value.description})` : ""}`);
  }
  for (const [path, methods] of Object.entries(api.paths)) for (const [method, about] of Object.entries(methods)) {
    const section = place.appendChild(document.createElement("section"));
    add(section, "h2", `${method.toUpperCase()} ${path}`);
    add(section, "p", about.summary ?? "");
    fields(section, "takes", about.requestBody?.content);
    fields(section, "answers", about.responses?.["200"]?.content);
  }
})();
