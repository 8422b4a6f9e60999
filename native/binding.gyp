{
  "targets": [
    {
      "target_name": "proteus",
      "sources": [
        "addon.cc",
        "args.cc",
        "async_call.cc",
        "device.cc",
        "device_class.cc",
        "device_replies.cc",
        "errors.cc",
        "file_reply.cc",
        "mount.cc",
        "mount_helper.cc",
        "notifier.cc",
        "syscalls.cc"
      ],
      "defines": ["NAPI_VERSION=8", "_FILE_OFFSET_BITS=64"],
      "cflags": ["-Wall", "-Wextra", "-fvisibility=hidden"],
      "cflags_cc": ["-std=c++17", "-O2"]
    }
  ]
}
