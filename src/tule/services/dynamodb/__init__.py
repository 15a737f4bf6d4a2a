"""DynamoDB: tables of items with secondary indexes."""
