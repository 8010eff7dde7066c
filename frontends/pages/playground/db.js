// Conversations and their media, kept in this browser alone.

const NAME = "thespis-playground";
let opened;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => {
      asked.result.createObjectStore("conversations", { keyPath: "id" });
      asked.result.createObjectStore("media", { keyPath: "id" });
    };
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
  return opened;
}

async function run(store, mode, act) {
  const db = await open();
  return new Promise((resolve, reject) => {
    const transaction = db.transaction(store, mode);
    const asked = act(transaction.objectStore(store));
    transaction.oncomplete = () => resolve(asked.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

export const all = (store) => run(store, "readonly", (s) => s.getAll());
export const get = (store, id) => run(store, "readonly", (s) => s.get(id));
export const put = (store, value) => run(store, "readwrite", (s) => s.put(value));
export const remove = (store, id) => run(store, "readwrite", (s) => s.delete(id));
