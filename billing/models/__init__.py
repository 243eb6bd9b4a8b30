from billing.models.bill import SessionBill
from billing.models.document import Counter, Document, DocumentSession, ReportRun
from billing.models.ledger import LedgerAccount, LedgerLeg, LedgerTxn
from billing.models.party import BillingAccount, LegalEntity, Payer, Postal, SiteSeller
from billing.models.tariff import ExactDecoder, ExactEncoder, Tariff, TariffAssignment, VatCategory, VatRate

__all__ = [
    "BillingAccount",
    "Counter",
    "Document",
    "DocumentSession",
    "ExactDecoder",
    "ExactEncoder",
    "LedgerAccount",
    "LedgerLeg",
    "LedgerTxn",
    "LegalEntity",
    "Payer",
    "Postal",
    "ReportRun",
    "SessionBill",
    "SiteSeller",
    "Tariff",
    "TariffAssignment",
    "VatCategory",
    "VatRate",
]
