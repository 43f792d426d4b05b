"""Oscar, a shop: products with options, customers, baskets, orders with lines."""

from __future__ import annotations

from .sites import Real

SETTINGS = """
from oscar.defaults import *

INSTALLED_APPS += [
    "django.contrib.flatpages",
    "oscar.config.Shop",
    "oscar.apps.analytics.apps.AnalyticsConfig",
    "oscar.apps.checkout.apps.CheckoutConfig",
    "oscar.apps.address.apps.AddressConfig",
    "oscar.apps.shipping.apps.ShippingConfig",
    "oscar.apps.catalogue.apps.CatalogueConfig",
    "oscar.apps.catalogue.reviews.apps.CatalogueReviewsConfig",
    "oscar.apps.communication.apps.CommunicationConfig",
    "oscar.apps.partner.apps.PartnerConfig",
    "oscar.apps.basket.apps.BasketConfig",
    "oscar.apps.payment.apps.PaymentConfig",
    "oscar.apps.offer.apps.OfferConfig",
    "oscar.apps.order.apps.OrderConfig",
    "oscar.apps.customer.apps.CustomerConfig",
    "oscar.apps.search.apps.SearchConfig",
    "oscar.apps.voucher.apps.VoucherConfig",
    "oscar.apps.wishlists.apps.WishlistsConfig",
    "oscar.apps.dashboard.apps.DashboardConfig",
    "oscar.apps.dashboard.reports.apps.ReportsDashboardConfig",
    "oscar.apps.dashboard.users.apps.UsersDashboardConfig",
    "oscar.apps.dashboard.orders.apps.OrdersDashboardConfig",
    "oscar.apps.dashboard.catalogue.apps.CatalogueDashboardConfig",
    "oscar.apps.dashboard.offers.apps.OffersDashboardConfig",
    "oscar.apps.dashboard.partners.apps.PartnersDashboardConfig",
    "oscar.apps.dashboard.pages.apps.PagesDashboardConfig",
    "oscar.apps.dashboard.ranges.apps.RangesDashboardConfig",
    "oscar.apps.dashboard.reviews.apps.ReviewsDashboardConfig",
    "oscar.apps.dashboard.vouchers.apps.VouchersDashboardConfig",
    "oscar.apps.dashboard.communications.apps.CommunicationsDashboardConfig",
    "oscar.apps.dashboard.shipping.apps.ShippingDashboardConfig",
    "widget_tweaks",
    "haystack",
    "treebeard",
    "django_tables2",
]
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}
"""
FILL = """
from datetime import datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User
from oscar.core.loading import get_model

Category = get_model("catalogue", "Category")
Product = get_model("catalogue", "Product")
ProductClass = get_model("catalogue", "ProductClass")
root = Category.add_root(name="Everything", slug="everything")
shelves = [root.add_child(name=f"Shelf {n}", slug=f"shelf-{n}") for n in range(5)]
kind = ProductClass.objects.create(name="Book")
pages = get_model("catalogue", "ProductAttribute").objects.create(
    product_class=kind, name="Pages", code="pages", type="integer"
)
gift = get_model("catalogue", "Option").objects.create(name="Gift", code="gift")
kind.options.add(gift)
partner = get_model("partner", "Partner").objects.create(name="House")
users = [
    User.objects.create_user(f"user{n}", f"User{n}@Example.com", "x", first_name=f"N {n}")
    for n in range(20)
]
partner.users.add(*users[:3])
country = get_model("address", "Country").objects.create(
    iso_3166_1_a2="AT", printable_name="Austria", name="Austria"
)
products = []
for n in range(60):
    product = Product.objects.create(
        title=f"Book {n}", slug=f"book-{n}", upc=f"U{n}" if n % 3 else None, product_class=kind
    )
    get_model("catalogue", "ProductCategory").objects.create(
        product=product, category=shelves[n % 5]
    )
    get_model("catalogue", "ProductAttributeValue").objects.create(
        product=product, attribute=pages, value_integer=100 + n
    )
    get_model("partner", "StockRecord").objects.create(
        product=product, partner=partner, partner_sku=f"S{n}", num_in_stock=n,
        **{
            name: Decimal(n) + Decimal("0.99")
            for name in ("price_excl_tax", "price_retail", "cost_price")
            if name in [one.name for one in get_model("partner", "StockRecord")._meta.fields]
        },
    )
    products.append(product)
products[0].recommended_products.through.objects.create(
    primary=products[0], recommendation=products[1]
)
for n, user in enumerate(users):
    get_model("address", "UserAddress").objects.create(
        user=user, first_name="A", last_name=f"B{n}", line1="Street 1", line4="Vienna",
        postcode="1010", country=country, phone_number="+431234567",
    )
    basket = get_model("basket", "Basket").objects.create(owner=user)
    stock = products[n].stockrecords.first()
    line = get_model("basket", "Line").objects.create(
        basket=basket, product=products[n], stockrecord=stock, quantity=2, line_reference=f"L{n}",
        price_currency="EUR", price_excl_tax=Decimal("5"), price_incl_tax=Decimal("6"),
    )
    get_model("basket", "LineAttribute").objects.create(line=line, option=gift, value="yes")
    get_model("basket", "Basket").objects.filter(pk=basket.pk).update(status="Submitted")
    where = get_model("order", "ShippingAddress").objects.create(
        first_name="A", last_name=f"B{n}", line1="Street 1", line4="Vienna", postcode="1010",
        country=country,
    )
    order = get_model("order", "Order").objects.create(
        number=str(1000 + n), basket=basket, user=user if n % 4 else None, shipping_address=where,
        currency="EUR", total_incl_tax=Decimal("12"), total_excl_tax=Decimal("10"),
        shipping_incl_tax=Decimal("2"), shipping_excl_tax=Decimal("2"), status="Pending",
        guest_email="" if n % 4 else f"Guest{n}@Example.com",
        date_placed=datetime(2020, 1, 1) + timedelta(days=n),
    )
    ordered = get_model("order", "Line").objects.create(
        order=order, partner=partner, partner_name="House", partner_sku=f"S{n}",
        stockrecord=stock, product=products[n], title=f"Book {n}", quantity=2,
        line_price_incl_tax=Decimal("12"), line_price_excl_tax=Decimal("10"),
        line_price_before_discounts_incl_tax=Decimal("12"),
        line_price_before_discounts_excl_tax=Decimal("10"),
        unit_price_incl_tax=Decimal("6"), unit_price_excl_tax=Decimal("5"),
    )
    get_model("order", "LineAttribute").objects.create(
        line=ordered, option=gift, type="gift", value="yes"
    )
    get_model("order", "OrderNote").objects.create(order=order, user=user, message="soon")
    get_model("reviews", "ProductReview").objects.create(
        product=products[n], user=user, score=n % 5, title="Good", body="Very", status=1
    )
    wishes = get_model("wishlists", "WishList").objects.create(owner=user, name="W", key=f"k{n}")
    wishes.add(products[n + 1])
get_model("voucher", "Voucher").objects.create(
    name="Spring", code="SPRING", start_datetime=datetime(2020, 1, 1),
    end_datetime=datetime(2030, 1, 1),
)
range_ = get_model("offer", "Range").objects.create(name="All books", slug="all-books")
range_.add_product(products[3])
"""

# Prices change their columns, and slugs their uniqueness; the old release would not find them.
HISTORY = {"POSTDO_SERVING": "no", "ON_LOSS": "allow"}

OSCAR = Real(name="oscar", settings=SETTINGS, fill=FILL, least_pending=20, policies=HISTORY)
