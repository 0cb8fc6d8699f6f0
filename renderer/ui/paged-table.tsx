import { usePages } from '../api/queries.ts';
import { Problem, Waiting } from './page.tsx';
import { Table, type TableProps } from './table.tsx';

/** A table of a list that comes a page at a time, more of it as its end comes into sight. */
export function PagedTable<Row>({
  path,
  filter,
  ...table
}: Omit<TableProps<Row>, 'rows' | 'more'> & {
  path: string;
  filter?: Readonly<Record<string, string | undefined>>;
}) {
  const { query, rows, more } = usePages<Row>(path, filter);
  if (query.isError) return <Problem error={query.error} retry={() => void query.refetch()} />;
  if (query.isPending) return <Waiting />;
  return <Table {...table} rows={rows} more={more} />;
}
