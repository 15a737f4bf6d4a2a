// node-postgres as functions use it: one pool, made once, transactions through one client.
import pg from "pg";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 1 });

export const handler = async ({ text, values }) => {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const { rows } = await client.query(text, values);
    await client.query("COMMIT");
    return { rows, total: pool.totalCount };
  } catch (error) {
    await client.query("ROLLBACK");
    return { code: error.code, total: pool.totalCount };
  } finally {
    client.release();
  }
};
