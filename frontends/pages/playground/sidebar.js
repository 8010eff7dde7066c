// The list of conversations: open, name, export, delete.

import { book, create, exported, remove, rename, select, titleOf } from "./conversations.js";
import { confirmed } from "./dialogs.js";
import { $, download, el, iconButton } from "./dom.js";

/** `opened`: called when somebody has chosen a conversation. */
export function startSidebar(opened) {
  $("new").addEventListener("click", () => {
    create();
    opened();
  });
  $("list").addEventListener("click", (event) => {
    const chosen = event.target.closest(".open");
    if (!chosen) return;
    select(chosen.dataset.id);
    opened();
  });
}

export function showSidebar() {
  $("list").replaceChildren(...book.all.map(entry));
}

function entry(conversation) {
  const title = titleOf(conversation);
  const current = conversation === book.current;
  const open = el(
    "button",
    {
      type: "button",
      class: "open",
      title,
      "data-id": conversation.id,
      "aria-current": current ? "true" : undefined,
    },
    title,
  );
  const coming = conversation.turns.at(-1)?.state === "streaming";
  const node = el("li", { class: `${current ? "current" : ""} ${coming ? "coming" : ""}`.trim() }, open);
  if (conversation.turns.length) {
    node.append(
      el(
        "span",
        { class: "deeds" },
        iconButton("edit", `Rename ${title}`, () => renaming(node, conversation)),
        iconButton("export", `Export ${title}`, async () => {
          download(
            `${title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40) || "conversation"}.json`,
            await exported(conversation),
          );
        }),
        iconButton("bin", `Delete ${title}`, async () => {
          if (
            await confirmed(
              "Delete this conversation?",
              `“${title}” and its media are removed from this browser.`,
              "Delete",
            )
          )
            await remove(conversation);
        }),
      ),
    );
  }
  return node;
}

function renaming(node, conversation) {
  let done = false;
  const end = (keep) => {
    if (done) return;
    done = true;
    if (keep) rename(conversation, field.value);
    else showSidebar();
  };
  const field = el("input", {
    type: "text",
    value: titleOf(conversation),
    "aria-label": "Name of the conversation",
    maxLength: 80,
    on: {
      blur: () => end(true),
      keydown: (event) => {
        if (event.key === "Enter") end(true);
        if (event.key === "Escape") {
          event.stopPropagation();
          end(false);
        }
      },
    },
  });
  node.replaceChildren(field);
  field.select();
}
