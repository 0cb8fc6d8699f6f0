import { Button, Center, Code, Image, Paper, PasswordInput, Stack, Text, Title } from '@mantine/core';
import { type FormEvent, useCallback, useEffect, useRef, useState } from 'react';
import { useLocation } from 'wouter';
import { openSession } from '../../api/client.ts';
import { Problem, Waiting } from '../../ui/page.tsx';
import icon from '../icon.svg';

/** The door: opens by itself for a link, and for the operator token otherwise. */
export function EnterPage({ code }: { code: string | null }) {
  const [, go] = useLocation();
  const [error, setError] = useState<unknown>(null);
  const [isOpening, setOpening] = useState(code !== null);
  const [token, setToken] = useState('');
  const used = useRef('');

  const open = useCallback(
    (proof: string): void => {
      openSession(proof)
        .then(() => go('/', { replace: true }))
        .catch((refusal: unknown) => setError(refusal))
        .finally(() => setOpening(false));
    },
    [go],
  );
  useEffect(() => {
    document.title = 'Kilnhouse';
    // It works once: React may call twice in development.
    if (code === null || used.current === code) return;
    used.current = code;
    open(code);
  }, [code, open]);

  return (
    <Center mih="100vh" p="md" component="main">
      <Paper withBorder p="xl" w={440} maw="100%">
        <form
          onSubmit={(event: FormEvent) => {
            event.preventDefault();
            setOpening(true);
            setError(null);
            open(token);
          }}
        >
          <Stack>
            <Image src={icon} w={56} h={56} alt="" />
            <div>
              <Title order={1} size="h3">
                Kilnhouse
              </Title>
              <Text c="dimmed" size="sm">
                The console of this machine’s operator.
              </Text>
            </div>
            {isOpening ? (
              <Waiting what="Opening the console" />
            ) : (
              <>
                {error !== null && <Problem error={error} />}
                <Text size="sm">
                  Run <Code>npm run console</Code> where the appliance was started: it prints a link that
                  opens this page. Or paste the operator token; it lies in the file{' '}
                  <Code>operator-token</Code> of the data folder.
                </Text>
                <PasswordInput
                  label="Operator token"
                  value={token}
                  autoComplete="off"
                  onChange={(event) => setToken(event.currentTarget.value)}
                />
                <Button type="submit" disabled={token.trim() === ''}>
                  Open the console
                </Button>
              </>
            )}
          </Stack>
        </form>
      </Paper>
    </Center>
  );
}
