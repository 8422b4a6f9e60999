#include "async_call.h"

#include <utility>

#include "errors.h"

namespace {

struct Job {
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  const char* syscall;
  std::string detail;
  std::function<int()> call;
  int error = 0;
};

void Run(napi_env, void* data) {
  auto* job = static_cast<Job*>(data);
  job->error = job->call();
}

void Finish(napi_env env, napi_status, void* data) {
  auto* job = static_cast<Job*>(data);
  if (job->error) {
    napi_reject_deferred(env, job->deferred, MakeSystemError(env, job->error, job->syscall, job->detail));
  } else {
    napi_value undefined;
    napi_get_undefined(env, &undefined);
    napi_resolve_deferred(env, job->deferred, undefined);
  }
  napi_delete_async_work(env, job->work);
  delete job;
}

}  // namespace

napi_value RunAsync(napi_env env, const char* syscall, const std::string& detail, std::function<int()> call) {
  auto* job = new Job;
  job->syscall = syscall;
  job->detail = detail;
  job->call = std::move(call);
  napi_value promise, name;
  napi_create_promise(env, &job->deferred, &promise);
  napi_create_string_utf8(env, "proteus:call", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, nullptr, name, Run, Finish, job, &job->work);
  napi_queue_async_work(env, job->work);
  return promise;
}
