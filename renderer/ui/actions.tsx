import { Button, type ButtonProps, CopyButton, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Check, Copy } from 'lucide-react';
import { type ReactNode, useState } from 'react';

/** Says what was done. */
function told(message: string): void {
  notifications.show({ message, autoClose: 4_000 });
}

/** Says what was refused, in the appliance's words; there is time to read it. */
function complain(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  notifications.show({ color: 'red', title: 'That did not work', message, autoClose: 12_000 });
}

/** Something that is done on a press: what came of it is said, and what is shown is asked for anew. */
export function useAction<Input = void>(work: (input: Input) => Promise<string | null>) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: work,
    onSuccess: async (message) => {
      if (message !== null) told(message);
      await queries.invalidateQueries();
    },
    onError: complain,
  });
}

/** A button that does something, shows that it is being done, and asks first where it cannot be undone. */
export function ActionButton({
  work,
  confirm,
  children,
  ...button
}: ButtonProps & {
  /** Resolves to what to say, null for nothing. */
  work: () => Promise<string | null>;
  confirm?: { title: string; text: ReactNode; word?: string };
  children: ReactNode;
  'aria-label'?: string;
}) {
  const action = useAction(work);
  const [isAsking, asking] = useDisclosure(false);
  const [typed, setTyped] = useState('');
  const act = (): void => {
    asking.close();
    action.mutate();
  };
  return (
    <>
      <Button {...button} loading={action.isPending} onClick={confirm ? asking.open : act}>
        {children}
      </Button>
      {confirm && (
        <Modal opened={isAsking} onClose={asking.close} title={confirm.title} centered>
          <Stack>
            <Text size="sm" component="div">
              {confirm.text}
            </Text>
            {confirm.word !== undefined && (
              <TextInput
                label={`Type "${confirm.word}" to go on`}
                value={typed}
                onChange={(event) => setTyped(event.currentTarget.value)}
                data-autofocus
              />
            )}
            <Group justify="flex-end">
              <Button variant="default" onClick={asking.close}>
                Keep it
              </Button>
              <Button
                color="red"
                disabled={confirm.word !== undefined && typed !== confirm.word}
                onClick={act}
              >
                {confirm.title}
              </Button>
            </Group>
          </Stack>
        </Modal>
      )}
    </>
  );
}

export function CopyText({ text, label = 'Copy' }: { text: string; label?: string }) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <Button
          size="compact-xs"
          variant="default"
          onClick={copy}
          leftSection={copied ? <Check aria-hidden size={14} /> : <Copy aria-hidden size={14} />}
        >
          {copied ? 'Copied' : label}
        </Button>
      )}
    </CopyButton>
  );
}
