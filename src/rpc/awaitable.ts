// What is there already, or comes later.
export type Awaitable<T> = T | Promise<T>
