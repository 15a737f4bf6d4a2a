// An Express application behind serverless-http, with what such applications use.
import express from "express";
import serverless from "serverless-http";

const app = express();
app.use(express.json());
app.get("/users/:id", (request, response) => response.json({ id: request.params.id, query: request.query }));
app.post("/users", (request, response) => response.status(201).set("x-made", "yes").json(request.body));
app.get("/cookies", (_, response) => response.cookie("a", "1").cookie("b", "2").send("ok"));
app.get("/binary", (_, response) => response.type("application/octet-stream").send(Buffer.from([0, 255, 1])));
app.get("/broken", () => {
  throw new Error("broken");
});

export const handler = serverless(app, { binary: ["application/octet-stream"] });
