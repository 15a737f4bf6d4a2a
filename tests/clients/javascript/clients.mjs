// What an application does with the AWS SDK for JavaScript v3, endpoint and keys from the environment alone.
// Prints one line a step, "ok NAME" or "not ok NAME: why".
import { createHash, randomBytes } from "node:crypto";
import { CreateTableCommand, DynamoDBClient, waitUntilTableExists } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, GetCommand, PutCommand, QueryCommand, UpdateCommand } from "@aws-sdk/lib-dynamodb";
import { CreateBucketCommand, GetObjectCommand, ListObjectsV2Command, NoSuchKey, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import {
  CreateQueueCommand,
  DeleteMessageCommand,
  QueueDoesNotExist,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { CreateRoleCommand, GetRoleCommand, IAMClient } from "@aws-sdk/client-iam";
import { CreateLogGroupCommand, CloudWatchLogsClient, DescribeLogGroupsCommand } from "@aws-sdk/client-cloudwatch-logs";
import { CloudFormationClient, CreateStackCommand, waitUntilStackCreateComplete } from "@aws-sdk/client-cloudformation";
import { LambdaClient, ListFunctionsCommand, ResourceNotFoundException, GetFunctionCommand } from "@aws-sdk/client-lambda";

const name = `js-${randomBytes(4).toString("hex")}`;
const expect = (truth, what) => {
  if (!truth) throw new Error(what);
};
const refusal = async (promise) => promise.then(() => null, (error) => error);

const steps = {
  async sqs() {
    const sqs = new SQSClient({});
    const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: name }));
    const MessageAttributes = { kind: { DataType: "String", StringValue: "test" } };
    await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: "höllo", MessageAttributes }));
    const { Messages } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, MessageAttributeNames: ["All"], WaitTimeSeconds: 1 }));
    expect(Messages[0].Body === "höllo" && Messages[0].MessageAttributes.kind.StringValue === "test", "the message came back");
    await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: Messages[0].ReceiptHandle }));
    const error = await refusal(sqs.send(new SendMessageCommand({ QueueUrl: `${QueueUrl}-none`, MessageBody: "x" })));
    expect(error instanceof QueueDoesNotExist, `a missing queue is ${error?.name}`);
  },
  async dynamodb() {
    const client = new DynamoDBClient({});
    await client.send(
      new CreateTableCommand({
        TableName: name,
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    await waitUntilTableExists({ client, maxWaitTime: 10, minDelay: 1 }, { TableName: name });
    const documents = DynamoDBDocumentClient.from(client);
    const Item = { id: "a", n: 1, list: [1, "two", null, true], map: { deep: new Set(["x", "y"]) }, bytes: new Uint8Array([1, 2]) };
    await documents.send(new PutCommand({ TableName: name, Item }));
    const got = await documents.send(new GetCommand({ TableName: name, Key: { id: "a" } }));
    expect(got.Item.list.length === 4 && got.Item.map.deep.has("x") && got.Item.bytes[1] === 2, "the item came back");
    await documents.send(
      new UpdateCommand({ TableName: name, Key: { id: "a" }, UpdateExpression: "ADD n :one", ExpressionAttributeValues: { ":one": 1 } }),
    );
    const found = await documents.send(
      new QueryCommand({ TableName: name, KeyConditionExpression: "id = :id", ExpressionAttributeValues: { ":id": "a" } }),
    );
    expect(found.Count === 1 && found.Items[0].n === 2, "the query found it");
    const again = new PutCommand({ TableName: name, Item: { id: "a" }, ConditionExpression: "attribute_not_exists(id)" });
    expect((await refusal(documents.send(again)))?.name === "ConditionalCheckFailedException", "the condition failed");
  },
  async s3() {
    const s3 = new S3Client({ forcePathStyle: true });
    await s3.send(new CreateBucketCommand({ Bucket: name }));
    await s3.send(new PutObjectCommand({ Bucket: name, Key: "small.txt", Body: "hello" }));
    const got = await s3.send(new GetObjectCommand({ Bucket: name, Key: "small.txt" }));
    expect((await got.Body.transformToString()) === "hello", "the object came back");
    const Body = randomBytes(12 * 1024 * 1024);
    await new Upload({ client: s3, params: { Bucket: name, Key: "large", Body } }).done();
    const large = await (await s3.send(new GetObjectCommand({ Bucket: name, Key: "large" }))).Body.transformToByteArray();
    const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
    expect(digest(large) === digest(Body), "the large object came back");
    const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket: name, Key: "small.txt" }), { expiresIn: 60 });
    expect((await (await fetch(url)).text()) === "hello", "the signed URL works");
    const listed = await s3.send(new ListObjectsV2Command({ Bucket: name }));
    expect(listed.KeyCount === 2, "both are listed");
    const error = await refusal(s3.send(new GetObjectCommand({ Bucket: name, Key: "none" })));
    expect(error instanceof NoSuchKey, `a missing key is ${error?.name}`);
  },
  async identity() {
    const who = await new STSClient({}).send(new GetCallerIdentityCommand({}));
    expect(/^\d{12}$/.test(who.Account), "an account");
    const iam = new IAMClient({});
    const trust = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Principal: { Service: "lambda.amazonaws.com" }, Action: "sts:AssumeRole" }] };
    await iam.send(new CreateRoleCommand({ RoleName: name, AssumeRolePolicyDocument: JSON.stringify(trust) }));
    expect((await iam.send(new GetRoleCommand({ RoleName: name }))).Role.RoleName === name, "the role");
  },
  async logs() {
    const logs = new CloudWatchLogsClient({});
    await logs.send(new CreateLogGroupCommand({ logGroupName: name }));
    const { logGroups } = await logs.send(new DescribeLogGroupsCommand({ logGroupNamePrefix: name }));
    expect(logGroups.length === 1, "the group");
  },
  async lambda() {
    const lambda = new LambdaClient({});
    await lambda.send(new ListFunctionsCommand({}));
    const error = await refusal(lambda.send(new GetFunctionCommand({ FunctionName: name })));
    expect(error instanceof ResourceNotFoundException, `a missing function is ${error?.name}`);
  },
  async cloudformation() {
    const client = new CloudFormationClient({});
    const template = { Resources: { Queue: { Type: "AWS::SQS::Queue" } } };
    await client.send(new CreateStackCommand({ StackName: name, TemplateBody: JSON.stringify(template) }));
    await waitUntilStackCreateComplete({ client, maxWaitTime: 20, minDelay: 1 }, { StackName: name });
  },
};

for (const [step, run] of Object.entries(steps)) {
  try {
    await run();
    console.log(`ok ${step}`);
  } catch (error) {
    console.log(`not ok ${step}: ${error.name} ${error.message}`);
  }
}
