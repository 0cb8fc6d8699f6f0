import type { Database, Statement } from 'better-sqlite3';

/** Statements by their text, each made once: making one costs more than most of them take to run. */
export class Statements {
  readonly #db: Database;
  readonly #made = new Map<string, Statement>();

  constructor(db: Database) {
    this.#db = db;
  }

  prepare<Bind extends unknown[] | object = unknown[], Row = unknown>(
    sql: string,
  ): Bind extends unknown[] ? Statement<Bind, Row> : Statement<[Bind], Row> {
    let statement = this.#made.get(sql);
    if (!statement) this.#made.set(sql, (statement = this.#db.prepare(sql)));
    // The types are those of better-sqlite3's own prepare, which says them of the text, too.
    return statement as never;
  }
}

/**
 * SQL for the different values of an indexed column, which is not null: it goes from one to the next in the index, where
 * `select distinct` reads every row.
 */
export function distinct(table: string, column: string): string {
  return `with recursive found (value) as (
    select min(${column}) from ${table}
    union all
    select (select min(${column}) from ${table} where ${column} > value) from found where value is not null)
    select value from found where value is not null`;
}
