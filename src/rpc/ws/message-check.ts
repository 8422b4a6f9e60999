// Looks through a message before it is decoded: MessagePack lets five bytes announce four thousand million items, for
// which a decoder would make room. https://github.com/msgpack/msgpack/blob/master/spec.md
import { DecodeError } from '../../codec/errors.ts'

export interface MessageLimits {
  /** Values in a message, those in lists and maps included. */
  readonly values: number
  /** Lists and maps within one another. */
  readonly depth: number
}

export const MESSAGE_LIMITS: MessageLimits = { values: 256 * 1024, depth: 32 }

/**
 * DecodeError unless the message is one complete MessagePack value after the other, within the limits, and only of what
 * JSON has, bytes, 64-bit integers and `undefined`: no extension types, which could make a decoder do anything.
 */
export function checkMessage(message: Buffer, limits: MessageLimits = MESSAGE_LIMITS): void {
  const { length } = message
  let at = 0
  let values = 0
  /** Values that are missing on each level. */
  const missing: number[] = []
  let left = 0

  const size = (bytes: number): number => {
    if (at + bytes > length) throw new DecodeError('a message ends within a value')
    const value =
      bytes === 1 ? message.readUInt8(at) : bytes === 2 ? message.readUInt16BE(at) : message.readUInt32BE(at)
    at += bytes
    return value
  }
  const skip = (bytes: number): void => {
    at += bytes
    if (at > length) throw new DecodeError('a message ends within a value')
  }
  const enter = (items: number): void => {
    // Each takes a byte at least.
    if (items > length - at) throw new DecodeError('a list or map that cannot be complete')
    if (items === 0) return
    missing.push(left)
    left = items
    if (missing.length > limits.depth) throw new DecodeError('lists and maps too deep within one another')
  }

  while (at < length) {
    if (++values > limits.values) throw new DecodeError('too many values in a message')
    if (left > 0) left--
    const byte = message[at++] as number
    if (byte <= 0x7f || byte >= 0xe0) {
      // A small integer.
    } else if (byte <= 0x8f) enter((byte & 0x0f) * 2)
    else if (byte <= 0x9f) enter(byte & 0x0f)
    else if (byte <= 0xbf) skip(byte & 0x1f)
    else {
      switch (byte) {
        case 0xc0: // nil
        case 0xc2: // false
        case 0xc3: // true
          break
        case 0xc4: // bin 8
        case 0xd9: // str 8
          skip(size(1))
          break
        case 0xc5:
        case 0xda:
          skip(size(2))
          break
        case 0xc6:
        case 0xdb:
          skip(size(4))
          break
        case 0xcc: // uint 8
        case 0xd0: // int 8
          skip(1)
          break
        case 0xcd:
        case 0xd1:
          skip(2)
          break
        case 0xca: // float 32
        case 0xce:
        case 0xd2:
          skip(4)
          break
        case 0xcb: // float 64
        case 0xcf:
        case 0xd3:
          skip(8)
          break
        case 0xdc: // array 16
          enter(size(2))
          break
        case 0xdd: // array 32
          enter(size(4))
          break
        case 0xde: // map 16
          enter(size(2) * 2)
          break
        case 0xdf: // map 32
          enter(size(4) * 2)
          break
        case 0xd4: // fixext 1 of type 0 and value 0: how `undefined` is written
          if (size(2) !== 0) throw new DecodeError('a value of a type that is not used here')
          break
        default:
          throw new DecodeError('a value of a type that is not used here')
      }
    }
    while (left === 0 && missing.length > 0) left = missing.pop() as number
  }
  if (left > 0 || missing.length > 0) throw new DecodeError('a message ends within a list or map')
}
