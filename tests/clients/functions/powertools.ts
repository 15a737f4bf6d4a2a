// What applications do with Powertools for AWS Lambda in TypeScript.
import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch';
import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { DynamoDBPersistenceLayer } from '@aws-lambda-powertools/idempotency/dynamodb';
import { Logger } from '@aws-lambda-powertools/logger';
import { MetricUnit, Metrics } from '@aws-lambda-powertools/metrics';
import { Tracer } from '@aws-lambda-powertools/tracer';

type Order = { id: string };

const logger = new Logger({ serviceName: 'orders' });
const metrics = new Metrics({ namespace: 'shop', serviceName: 'orders' });
const tracer = new Tracer({ serviceName: 'orders' });
const processor = new BatchProcessor(EventType.SQS);
let calls = 0;

async function place(order: Order): Promise<{ placed: string; calls: number }> {
  logger.info('placing', { order: order.id });
  metrics.addMetric('Placed', MetricUnit.Count, 1);
  tracer.putAnnotation('order', order.id);
  calls += 1;
  return { placed: order.id, calls };
}

const once = makeIdempotent(place, {
  persistenceStore: new DynamoDBPersistenceLayer({ tableName: 'idempotency' }),
  config: new IdempotencyConfig({ eventKeyJmesPath: 'id' }),
});

async function record(message: { body: string }): Promise<void> {
  const order = JSON.parse(message.body) as Order;
  if (order.id === 'poison') throw new Error('poison');
  await place(order);
}

export const handler = async (event: any, context: any) => {
  logger.addContext(context);
  metrics.captureColdStartMetric();
  try {
    if (event.Records) return await processPartialResponse(event, record, processor, { context });
    return await once(event);
  } finally {
    metrics.publishStoredMetrics();
  }
};
