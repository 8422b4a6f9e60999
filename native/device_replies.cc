// What a Device writes besides the immediate replies: later replies, replies from files, notifications. See device.h.
#include <cstring>

#include "device.h"
#include "errors.h"
#include "scope.h"

// A read from a file in the thread pool.
struct Device::FileJob {
  uv_work_t work;
  Device* device;
  FileReply reply;
  napi_ref done;
  int error = 0;
};

void Device::Answered(uint64_t unique) {
  if (unique == current_) {
    current_ = 0;
  } else {
    outstanding_.erase(unique);
  }
}

// After a reply was written. The kernel forgets an interrupted request (ENOENT); of a message that it refuses, it may
// not even have read for whom it was, so the request is answered again.
void Device::Sent(uint64_t unique, int error) {
  if (error == 0 || error == ENOENT || !open()) return;
  connection_->WriteError(unique, EIO);
  Call("onError", MakeSystemError(env_, error, "write", "the reply to request " + std::to_string(unique)));
}

void Device::Reply(Bytes header, Bytes data) {
  if (!open()) return;
  uint64_t unique = 0;
  if (header.size >= sizeof(fuse::OutHeader)) {
    memcpy(&unique, header.data + offsetof(fuse::OutHeader, unique), sizeof unique);
  }
  Answered(unique);
  const iovec parts[] = {{header.data, header.size}, {data.data, data.size}};
  Sent(unique, connection_->Write(parts, data.size > 0 ? 2 : 1));
}

void Device::Answer(size_t length) { Reply({reply_.data, length}, {}); }

void Device::ReplyFromFile(uint64_t unique, int fd, int64_t offset, size_t length, napi_value done) {
  FileReply reply{connection_, unique, fd, offset, length, buffers_.Take(length)};
  Answered(unique);
  if (reply.ReadCached()) return FinishFileReply(&reply, done, reply.Send(0));

  uv_loop_t* loop;
  napi_get_uv_event_loop(env_, &loop);
  auto* job = new FileJob{{}, this, std::move(reply), nullptr};
  job->work.data = job;
  napi_create_reference(env_, done, 1, &job->done);
  pins_++;
  uv_queue_work(
      loop, &job->work,
      [](uv_work_t* work) {
        auto* job = static_cast<FileJob*>(work->data);
        job->error = job->reply.Send(job->reply.ReadRest());
      },
      [](uv_work_t* work, int) {
        std::unique_ptr<FileJob> job(static_cast<FileJob*>(work->data));
        Device* device = job->device;
        if (!device->teardown_) {
          CallbackScope scope(device->env_, device->context_);
          napi_value done;
          napi_get_reference_value(device->env_, job->done, &done);
          device->FinishFileReply(&job->reply, done, job->error);
        }
        napi_delete_reference(device->env_, job->done);
        job.reset();
        device->Unpin();
      });
}

void Device::FinishFileReply(FileReply* reply, napi_value done, int error) {
  buffers_.Give(std::move(reply->buffer));
  Sent(reply->unique, error);
  napi_value undefined, result;
  napi_get_undefined(env_, &undefined);
  if (napi_call_function(env_, undefined, done, 0, nullptr, &result) == napi_ok) return;
  if (napi_value thrown = TakeException()) napi_fatal_exception(env_, thrown);
}

napi_value Device::NotifyLater(Bytes message) {
  napi_value promise;
  napi_deferred deferred;
  napi_create_promise(env_, &deferred, &promise);
  if (!open()) {
    Settle(deferred, ENOENT);
    return promise;
  }
  if (!notifier_) notifier_ = std::make_unique<Notifier>(connection_, &wake_);
  if (!notifier_->Push(message.data, message.size, deferred)) Settle(deferred, ENOBUFS);
  return promise;
}

void Device::SettleNotifications() {
  for (const Notifier::Result& result : notifier_->TakeResults()) Settle(result.deferred, result.error);
}

void Device::Settle(napi_deferred deferred, int error) {
  if (teardown_) return;
  if (error != 0 && error != ENOENT) {
    napi_reject_deferred(env_, deferred, MakeSystemError(env_, error, "write", "a notification"));
    return;
  }
  napi_value known;
  napi_get_boolean(env_, error == 0, &known);
  napi_resolve_deferred(env_, deferred, known);
}
