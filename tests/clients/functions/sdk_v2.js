// What applications do with the AWS SDK for JavaScript v2. Nothing here says where AWS is.
const AWS = require(process.env.SDK);

const steps = {
  async sqs() {
    const sqs = new AWS.SQS();
    const { QueueUrl } = await sqs.createQueue({ QueueName: "v2" }).promise();
    const sent = await sqs.sendMessage({ QueueUrl, MessageBody: "hello" }).promise();
    const { Messages } = await sqs.receiveMessage({ QueueUrl, WaitTimeSeconds: 5 }).promise();
    await sqs.deleteMessage({ QueueUrl, ReceiptHandle: Messages[0].ReceiptHandle }).promise();
    const missing = await sqs.getQueueUrl({ QueueName: "none" }).promise().catch((error) => error.code);
    return { QueueUrl, body: Messages[0].Body, same: sent.MessageId === Messages[0].MessageId, missing };
  },
  async dynamodb() {
    const documents = new AWS.DynamoDB.DocumentClient();
    const TableName = process.env.TABLE;
    await documents.put({ TableName, Item: { id: "a", tags: ["x"], n: 1.5 } }).promise();
    const updated = await documents
      .update({ TableName, Key: { id: "a" }, UpdateExpression: "ADD n :one", ExpressionAttributeValues: { ":one": 1 }, ReturnValues: "ALL_NEW" })
      .promise();
    const { Items } = await documents.scan({ TableName }).promise();
    return { updated: updated.Attributes, items: Items.length };
  },
  async s3() {
    const s3 = new AWS.S3();
    const Bucket = process.env.BUCKET;
    await s3.createBucket({ Bucket }).promise();
    await s3.putObject({ Bucket, Key: "a b/c.txt", Body: "content" }).promise();
    const got = await s3.getObject({ Bucket, Key: "a b/c.txt" }).promise();
    const listed = await s3.listObjectsV2({ Bucket }).promise();
    const missing = await s3.getObject({ Bucket, Key: "none" }).promise().catch((error) => error.code);
    return { body: got.Body.toString(), keys: listed.Contents.map(({ Key }) => Key), missing };
  },
  async lambda() {
    const lambda = new AWS.Lambda();
    const answered = await lambda
      .invoke({ FunctionName: process.env.AWS_LAMBDA_FUNCTION_NAME, Payload: JSON.stringify({ echo: 7 }) })
      .promise();
    return JSON.parse(answered.Payload);
  },
  async elsewhere() {
    const { QueueUrl } = await new AWS.SQS({ region: "eu-west-3" }).createQueue({ QueueName: "far" }).promise();
    return QueueUrl;
  },
  async who() {
    return (await new AWS.STS().getCallerIdentity().promise()).Arn;
  },
};

exports.handler = async ({ echo, step }) => (echo ? { echo } : steps[step]());
