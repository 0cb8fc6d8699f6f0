import { Select } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import type { Static } from 'typebox';
import type { TenantsView } from '../../server/contract/operator-accounts.ts';
import { useGet } from '../api/queries.ts';

/** Picks one of any number of tenants: what is typed is searched for on the server. `value` is the id. */
export function TenantSelect({
  value,
  onChange,
}: {
  value: string | null;
  onChange: (tenant: string | null) => void;
}) {
  const [typed, setTyped] = useState('');
  const [search] = useDebouncedValue(typed.trim(), 200);
  const { data } = useGet<Static<typeof TenantsView>>(
    `/api/tenants?limit=20&search=${encodeURIComponent(search)}`,
  );
  const [picked, setPicked] = useState<{ value: string; label: string } | null>(null);
  const found = (data?.items ?? []).map(({ id, name }) => ({ value: id, label: name }));
  const options = picked && !found.some((one) => one.value === picked.value) ? [picked, ...found] : found;
  return (
    <Select
      aria-label="Tenant"
      placeholder="All tenants"
      data={options}
      value={value}
      onChange={(id, option) => {
        setPicked(id === null ? null : option);
        onChange(id);
      }}
      searchable
      clearable
      searchValue={typed}
      onSearchChange={setTyped}
      // The server has searched already, by more than what is shown here.
      filter={({ options: all }) => all}
      nothingFoundMessage="No tenant is called that"
    />
  );
}
