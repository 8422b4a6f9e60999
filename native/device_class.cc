// See device_class.h: checks arguments and hands them to Device.
#include "device_class.h"

#include <sys/ioctl.h>

#include <cerrno>

#include "args.h"
#include "device.h"
#include "errors.h"

namespace {

// The device behind `this`; throws if there is none. Node has already refused objects that are not of this class.
Device* Self(napi_env env, const Args& args) {
  void* device = nullptr;
  if (napi_unwrap(env, args.self(), &device) != napi_ok) {
    napi_throw_type_error(env, "ERR_INVALID_THIS", "not a device: use openDevice()");
  }
  return static_cast<Device*>(device);
}

napi_value SetRequestBuffer(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Device* device = Self(env, args);
  const Bytes bytes = args.Uint8Array(0);
  if (!device || !args.ok()) return nullptr;
  if (bytes.size < fuse::kMinReadBuffer) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "a request buffer needs at least 8192 bytes");
    return nullptr;
  }
  device->SetRequestBuffer(args[0], bytes);
  return nullptr;
}

napi_value Start(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Device* device = Self(env, args);
  if (!device) return nullptr;
  if (!device->open()) return ThrowSystemError(env, ENODEV, "start");
  if (!device->has_request_buffer()) return ThrowSystemError(env, ENOBUFS, "start", "without a request buffer");
  if (const int error = device->Start()) return ThrowSystemError(env, error, "start");
  return nullptr;
}

napi_value Reply(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Device* device = Self(env, args);
  const Bytes header = args.Uint8Array(0);
  const Bytes data = args.IsUndefined(1) ? Bytes{} : args.Uint8Array(1);
  if (device && args.ok()) device->Reply(header, data);
  return nullptr;
}

// Most replies come this way, so it is bound to its device: to find the device behind `this` costs as much as the rest.
napi_value Answer(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto* device = static_cast<Device*>(args.data());
  uint32_t length;
  if (napi_get_value_uint32(env, args[0], &length) != napi_ok || length > device->reply_size()) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "not the length of a reply");
    return nullptr;
  }
  if (device->open()) device->Answer(length);
  return nullptr;
}

napi_value ReplyFromFile(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Device* device = Self(env, args);
  const uint64_t unique = args.BigUint64(0);
  const int fd = args.Int32(1);
  const int64_t offset = args.Offset(2);
  const int64_t length = args.Offset(3);
  const napi_value done = args.Function(4);
  if (!device || !args.ok()) return nullptr;
  if (length > FileReply::kMaxLength) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "a reply from a file has at most 16 MiB");
    return nullptr;
  }
  if (device->open()) {
    device->ReplyFromFile(unique, fd, offset, static_cast<size_t>(length), done);
    return nullptr;
  }
  napi_value undefined, result;
  napi_get_undefined(env, &undefined);
  napi_call_function(env, undefined, done, 0, nullptr, &result);
  return nullptr;
}

napi_value Notify(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Device* device = Self(env, args);
  const Bytes message = args.Uint8Array(0);
  if (!device || !args.ok()) return nullptr;
  const int error = device->open() ? device->connection()->Write(message.data, message.size) : ENOENT;
  if (error != 0 && error != ENOENT) return ThrowSystemError(env, error, "write", "a notification");
  napi_value known;
  napi_get_boolean(env, error == 0, &known);
  return known;
}

napi_value NotifyLater(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Device* device = Self(env, args);
  const Bytes message = args.Uint8Array(0);
  if (!device || !args.ok()) return nullptr;
  return device->NotifyLater(message);
}

napi_value OpenBacking(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Device* device = Self(env, args);
  fuse::BackingMap map{};
  map.fd = args.Int32(0);
  if (!device || !args.ok()) return nullptr;
  if (!device->open()) return ThrowSystemError(env, ENODEV, "ioctl FUSE_DEV_IOC_BACKING_OPEN");
  const int id = ioctl(device->connection()->fd(), fuse::kBackingOpen, &map);
  if (id < 0) return ThrowSystemError(env, errno, "ioctl FUSE_DEV_IOC_BACKING_OPEN");
  napi_value result;
  napi_create_int32(env, id, &result);
  return result;
}

napi_value CloseBacking(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Device* device = Self(env, args);
  const uint32_t id = static_cast<uint32_t>(args.Int32(0));
  // With the connection the kernel forgot its backing files.
  if (!device || !args.ok() || !device->open()) return nullptr;
  if (ioctl(device->connection()->fd(), fuse::kBackingClose, &id) != 0) {
    return ThrowSystemError(env, errno, "ioctl FUSE_DEV_IOC_BACKING_CLOSE");
  }
  return nullptr;
}

napi_value Close(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (Device* device = Self(env, args)) device->Close();
  return nullptr;
}

// The function keeps the object, and with it the device.
void AddAnswer(napi_env env, napi_value self, Device* device) {
  napi_value answer;
  napi_create_function(env, "answer", NAPI_AUTO_LENGTH, Answer, device, &answer);
  napi_set_named_property(env, answer, "device", self);
  napi_set_named_property(env, self, "answer", answer);
}

// `new FuseDevice()` by others yields an object without a device: see Self.
napi_value Construct(napi_env env, napi_callback_info info) { return Args(env, info).self(); }

void Finalize(napi_env, void* data, void*) { static_cast<Device*>(data)->Unbind(); }

napi_value OpenDevice(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.Int32(0);
  const napi_value handler = args.Object(1);
  const Bytes reply = args.Uint8Array(2);
  if (!args.ok()) return nullptr;
  napi_value on_request, constructor, self;
  napi_valuetype type;
  if (napi_get_named_property(env, handler, "onRequest", &on_request) != napi_ok) return nullptr;
  if (napi_typeof(env, on_request, &type) != napi_ok || type != napi_function) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "a device handler needs a function `onRequest`");
    return nullptr;
  }
  napi_get_reference_value(env, static_cast<napi_ref>(args.data()), &constructor);
  if (napi_new_instance(env, constructor, 0, nullptr, &self) != napi_ok) return nullptr;
  Device* device;
  if (const int error = Device::Open(env, fd, &device)) return ThrowSystemError(env, error, "uv_poll_init");
  device->Bind(self, handler, on_request, args[2], reply);
  napi_wrap(env, self, device, Finalize, nullptr, nullptr);
  AddAnswer(env, self, device);
  return self;
}

}  // namespace

void device_class::Register(napi_env env, napi_value exports) {
  const napi_property_descriptor methods[] = {
      {"setRequestBuffer", nullptr, SetRequestBuffer, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"start", nullptr, Start, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"reply", nullptr, Reply, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"replyFromFile", nullptr, ReplyFromFile, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"notify", nullptr, Notify, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"notifyLater", nullptr, NotifyLater, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"openBacking", nullptr, OpenBacking, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"closeBacking", nullptr, CloseBacking, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"close", nullptr, Close, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  napi_value constructor, open;
  napi_define_class(env, "FuseDevice", NAPI_AUTO_LENGTH, Construct, nullptr, sizeof methods / sizeof *methods, methods,
                    &constructor);
  // Kept as long as the environment: it owns its references.
  napi_ref reference;
  napi_create_reference(env, constructor, 1, &reference);
  napi_create_function(env, "openDevice", NAPI_AUTO_LENGTH, OpenDevice, reference, &open);
  napi_set_named_property(env, exports, "openDevice", open);
}
