-- Days of usage begin and end where the machine stands. local_day is ours: openDatabase gives it to each connection.
-- Days that were counted before stay as they were.
drop trigger usage_adds_up;
create trigger usage_adds_up after insert on usage begin
  insert into usage_daily values (new.tenant, local_day(new.at), new.feature, new.model, new.key_id, 1,
    new.status = 'ok', new.prompt_tokens, new.completion_tokens, new.images,
    case when new.status = 'ok' then new.queue_ms + new.swap_ms + new.run_ms else 0 end, new.gpu_ms, new.credits)
  on conflict do update set requests = requests + 1, succeeded = succeeded + excluded.succeeded,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens, images = images + excluded.images,
    total_ms = total_ms + excluded.total_ms, gpu_ms = gpu_ms + excluded.gpu_ms, credits = credits + excluded.credits;
end;
