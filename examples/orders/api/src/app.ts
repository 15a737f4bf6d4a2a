// POST /orders hands an order to the queue; GET /orders/{id} shows what became of it.
import { randomUUID } from "node:crypto";

import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { DynamoDBDocumentClient, GetCommand } from "@aws-sdk/lib-dynamodb";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from "aws-lambda";

interface Order {
  id: string;
  item: string;
  quantity: number;
}

const queue = new SQSClient({});
const table = DynamoDBDocumentClient.from(new DynamoDBClient({}));

export async function handler(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  switch (event.routeKey) {
    case "POST /orders":
      return place(event);
    case "GET /orders/{id}":
      return show(event.pathParameters?.id ?? "");
    default:
      return answer(404, { message: "There is nothing here." });
  }
}

async function place(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  const order = read(event);
  if (order === undefined) {
    return answer(400, { message: 'An order looks like {"item": "chair", "quantity": 2}.' });
  }
  await queue.send(new SendMessageCommand({ QueueUrl: process.env.QUEUE_URL, MessageBody: JSON.stringify(order) }));
  return answer(202, { id: order.id, status: "accepted" });
}

// Only the shape is checked here. Whether an order can be fulfilled is for whoever fulfils it.
function read(event: APIGatewayProxyEventV2): Order | undefined {
  const body = event.isBase64Encoded ? Buffer.from(event.body ?? "", "base64").toString() : event.body;
  try {
    const { item, quantity } = JSON.parse(body ?? "") as Partial<Order>;
    if (typeof item === "string" && item !== "" && typeof quantity === "number") {
      return { id: randomUUID(), item, quantity };
    }
  } catch {
    // not JSON
  }
  return undefined;
}

async function show(id: string): Promise<APIGatewayProxyStructuredResultV2> {
  const found = await table.send(new GetCommand({ TableName: process.env.TABLE_NAME, Key: { id } }));
  return found.Item ? answer(200, found.Item) : answer(404, { message: `There is no order ${id} (yet).` });
}

function answer(statusCode: number, body: unknown): APIGatewayProxyStructuredResultV2 {
  return { statusCode, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}
