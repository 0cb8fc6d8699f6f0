import { type Static, Type } from 'typebox';

/** Whose fault it is: the caller's request, our refusal to take it now, or the engine behind us. */
type Side = 'client' | 'appliance' | 'engine';

/** Every error a tenant can meet: its status, OpenAI's type for it, and whose fault it is. */
export const errorTable = {
  invalid_request: { status: 400, type: 'invalid_request_error', side: 'client' },
  content_policy_violation: { status: 400, type: 'invalid_request_error', side: 'client' },
  model_infeasible: { status: 400, type: 'invalid_request_error', side: 'appliance' },
  invalid_image: { status: 400, type: 'invalid_request_error', side: 'client' },
  missing_api_key: { status: 401, type: 'authentication_error', side: 'client' },
  invalid_api_key: { status: 401, type: 'authentication_error', side: 'client' },
  invalid_session: { status: 401, type: 'authentication_error', side: 'client' },
  invalid_credentials: { status: 401, type: 'authentication_error', side: 'client' },
  insufficient_credits: { status: 402, type: 'insufficient_quota', side: 'client' },
  tenant_disabled: { status: 403, type: 'permission_error', side: 'client' },
  model_not_in_plan: { status: 403, type: 'permission_error', side: 'client' },
  feature_not_in_plan: { status: 403, type: 'permission_error', side: 'client' },
  email_not_verified: { status: 403, type: 'permission_error', side: 'client' },
  registration_closed: { status: 403, type: 'permission_error', side: 'appliance' },
  forbidden: { status: 403, type: 'permission_error', side: 'client' },
  not_found: { status: 404, type: 'invalid_request_error', side: 'client' },
  model_not_found: { status: 404, type: 'invalid_request_error', side: 'client' },
  method_not_allowed: { status: 405, type: 'invalid_request_error', side: 'client' },
  request_timeout: { status: 408, type: 'invalid_request_error', side: 'client' },
  conflict: { status: 409, type: 'invalid_request_error', side: 'client' },
  payload_too_large: { status: 413, type: 'invalid_request_error', side: 'client' },
  unsupported_media_type: { status: 415, type: 'invalid_request_error', side: 'client' },
  range_not_satisfiable: { status: 416, type: 'invalid_request_error', side: 'client' },
  misdirected_request: { status: 421, type: 'invalid_request_error', side: 'client' },
  upgrade_required: { status: 426, type: 'invalid_request_error', side: 'client' },
  headers_too_large: { status: 431, type: 'invalid_request_error', side: 'client' },
  idempotency_key_reused: { status: 422, type: 'idempotency_error', side: 'client' },
  too_many_attempts: { status: 429, type: 'rate_limit_error', side: 'appliance' },
  rate_limit_exceeded: { status: 429, type: 'rate_limit_error', side: 'appliance' },
  concurrency_exceeded: { status: 429, type: 'rate_limit_error', side: 'appliance' },
  tenant_queue_full: { status: 429, type: 'rate_limit_error', side: 'appliance' },
  internal_error: { status: 500, type: 'server_error', side: 'appliance' },
  engine_error: { status: 502, type: 'engine_error', side: 'engine' },
  engine_broken_stream: { status: 502, type: 'engine_error', side: 'engine' },
  engine_out_of_memory: { status: 503, type: 'engine_error', side: 'engine' },
  engine_unavailable: { status: 503, type: 'engine_error', side: 'engine' },
  queue_full: { status: 503, type: 'overloaded_error', side: 'appliance' },
  payments_off: { status: 503, type: 'server_error', side: 'appliance' },
  payment_provider_error: { status: 502, type: 'server_error', side: 'appliance' },
  moderation_unavailable: { status: 503, type: 'server_error', side: 'appliance' },
  tunnel_unavailable: { status: 502, type: 'server_error', side: 'appliance' },
  storage_full: { status: 507, type: 'server_error', side: 'appliance' },
  storage_quota_exceeded: { status: 507, type: 'insufficient_quota', side: 'client' },
  storage_unavailable: { status: 503, type: 'server_error', side: 'appliance' },
  paused: { status: 503, type: 'overloaded_error', side: 'appliance' },
  shutting_down: { status: 503, type: 'overloaded_error', side: 'appliance' },
  engine_timeout: { status: 504, type: 'engine_error', side: 'engine' },
} as const satisfies Record<string, { status: number; type: string; side: Side }>;
export type ErrorCode = keyof typeof errorTable;

/** OpenAI's error shape, with the side that failed and the request's id. */
export const ErrorBody = Type.Object({
  error: Type.Object({
    message: Type.String(),
    type: Type.String(),
    param: Type.Union([Type.String(), Type.Null()]),
    code: Type.String(),
    side: Type.String({ description: 'Who failed: client, appliance or engine.' }),
    request_id: Type.String(),
  }),
});
export type ErrorBody = Static<typeof ErrorBody>;

/** The same error in the envelope of /api/v1. */
export const ErrorEnvelope = Type.Object({
  status: Type.Literal('error'),
  data: Type.Null(),
  message: Type.String(),
  errors: Type.Array(Type.Omit(ErrorBody.properties.error, ['request_id'])),
  request_id: Type.String(),
});
export type ErrorEnvelope = Static<typeof ErrorEnvelope>;
