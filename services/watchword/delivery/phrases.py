"""The words of every built-in message, by language.

Where a language allows it, words are chosen whose letters are all in the GSM alphabet
(3GPP TS 23.038): one other letter more than halves what fits into a message.
"""

from enum import StrEnum
from typing import NamedTuple


class NoticeKind(StrEnum):
    """What a notice, a message without a code, tells a person."""

    TOO_MANY_ATTEMPTS = "TOO_MANY_ATTEMPTS"
    REBIND_REQUESTED = "REBIND_REQUESTED"


class Phrases(NamedTuple):
    """One language's sentences.

    `lead` comes before the code. `expiry` holds what stands around the number of minutes:
    before it, after it, and after it where it is one. `again` leads in a repeated code.
    """

    lead: str
    expiry: tuple[str, str, str]
    secrecy: str
    again: str
    notices: dict[NoticeKind, str]


PHRASES = {
    "en": Phrases(
        lead="Your verification code is ",
        expiry=("It expires in ", " minutes.", " minute."),
        secrecy="Never share it.",
        again="Again: ",
        notices={
            NoticeKind.TOO_MANY_ATTEMPTS: (
                "Wrong codes were entered for this phone number. "
                "If it was not you, ignore this message and share no code."
            ),
            NoticeKind.REBIND_REQUESTED: (
                "A request to unlock this phone number takes effect in 24 hours. "
                "If it was not yours, contact support now."
            ),
        },
    ),
    "es": Phrases(
        lead="Tu clave es ",
        expiry=("Caduca en ", " minutos.", " minuto."),
        secrecy="No la compartas con nadie.",
        again="Repito: ",
        notices={
            NoticeKind.TOO_MANY_ATTEMPTS: (
                "Se han introducido claves incorrectas para este teléfono. "
                "Si no lo has hecho, ignora este mensaje y no compartas ninguna clave."
            ),
            NoticeKind.REBIND_REQUESTED: (
                "Una solicitud para desbloquear este teléfono se aplica en 24 horas. "
                "Si no es tuya, avisa a soporte ahora."
            ),
        },
    ),
    "fr": Phrases(
        lead="Votre code est ",
        expiry=("Il expire dans ", " minutes.", " minute."),
        secrecy="Ne le partagez avec personne.",
        again="Je répète : ",
        notices={
            NoticeKind.TOO_MANY_ATTEMPTS: (
                "Des codes erronés ont été saisis pour ce numéro. "
                "Si ce n'est pas vous, ignorez ce message et ne partagez aucun code."
            ),
            NoticeKind.REBIND_REQUESTED: (
                "Une demande de déblocage de ce numéro prend effet dans 24 heures. "
                "Si elle ne vient pas de vous, contactez le support."
            ),
        },
    ),
    "de": Phrases(
        lead="Ihr Code lautet ",
        expiry=("Er gilt ", " Minuten.", " Minute."),
        secrecy="Geben Sie ihn niemandem weiter.",
        again="Noch einmal: ",
        notices={
            NoticeKind.TOO_MANY_ATTEMPTS: (
                "Für diese Nummer wurden falsche Codes eingegeben. Waren Sie das nicht, "
                "ignorieren Sie diese Nachricht und geben Sie keinen Code weiter."
            ),
            NoticeKind.REBIND_REQUESTED: (
                "Ein Antrag auf Freigabe dieser Nummer gilt in 24 Stunden. "
                "Stammt er nicht von Ihnen, wenden Sie sich an den Support."
            ),
        },
    ),
    "pt": Phrases(
        lead="Seu PIN é ",
        expiry=("Expira em ", " minutos.", " minuto."),
        secrecy="Nunca o compartilhe com ninguém.",
        again="Repito: ",
        notices={
            NoticeKind.TOO_MANY_ATTEMPTS: (
                "Foram digitados PINs errados para este telefone. "
                "Se outra pessoa fez isso, ignore esta mensagem e nunca compartilhe um PIN."
            ),
            NoticeKind.REBIND_REQUESTED: (
                "Um pedido para desbloquear este telefone vale em 24 horas. "
                "Se outra pessoa o fez, avise o suporte agora."
            ),
        },
    ),
    "it": Phrases(
        lead="Il tuo codice è ",
        expiry=("Scade tra ", " minuti.", " minuto."),
        secrecy="Non condividerlo con nessuno.",
        again="Ripeto: ",
        notices={
            NoticeKind.TOO_MANY_ATTEMPTS: (
                "Sono stati inseriti codici errati per questo numero. "
                "Se non eri tu, ignora questo messaggio e non condividere alcun codice."
            ),
            NoticeKind.REBIND_REQUESTED: (
                "Una richiesta di sbloccare questo numero vale tra 24 ore. "
                "Se non è tua, avvisa subito l'assistenza."
            ),
        },
    ),
}

DEFAULT_LANGUAGE = "en"


def phrases(language_code: str) -> Phrases:
    """Return the sentences for a language tag, by its first subtag; English where none fits."""
    language = language_code.partition("-")[0].lower()
    return PHRASES.get(language) or PHRASES[DEFAULT_LANGUAGE]
