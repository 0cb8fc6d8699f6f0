import { Type } from 'typebox';
import { limits } from './limits.ts';
import { Nullable } from './platform.ts';

const EventType = Type.Union([
  Type.Literal('job.processing'),
  Type.Literal('job.succeeded'),
  Type.Literal('job.failed'),
  Type.Literal('job.canceled'),
  Type.Literal('job.expired'),
]);

export const WebhookBody = Type.Object(
  {
    url: Type.String({ minLength: 8, maxLength: limits.webhooks.urlCharacters }),
    events: Type.Optional(
      Type.Array(EventType, { uniqueItems: true, description: 'Which events; all of them when missing.' }),
    ),
  },
  { additionalProperties: false },
);

export const WebhookView = Type.Object({
  id: Type.String(),
  url: Type.String(),
  events: Type.Array(Type.String()),
  createdAt: Type.String(),
  disabledAt: Nullable(Type.String(), {
    description: 'Since when nothing is sent to it, because it failed.',
  }),
  failingSince: Nullable(Type.String()),
});

export const MadeWebhookView = Type.Object({
  secret: Type.String({ description: 'Signs what is sent (whsec_...), shown only now.' }),
  ...WebhookView.properties,
});

export const DeliveryView = Type.Object({
  id: Type.String(),
  event: Type.String({ description: 'The webhook-id header: the same for every attempt.' }),
  type: Type.String(),
  createdAt: Type.String(),
  attempts: Type.Integer(),
  nextAt: Nullable(Type.String()),
  deliveredAt: Nullable(Type.String()),
  status: Nullable(Type.Integer()),
  error: Nullable(Type.String()),
});

export const DeliveryParams = Type.Object({
  id: Type.String({ minLength: 1, maxLength: 60 }),
  delivery: Type.String({ minLength: 1, maxLength: 60 }),
});
