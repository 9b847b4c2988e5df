// What procedures take and give: JSON Schemas that know their TypeScript types. Only what a plugin uses gets into it.

export * from "typebox";
