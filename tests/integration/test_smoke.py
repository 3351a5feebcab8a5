import pytest
from tests.testapp.models import *
from tests.testapp.executors import *
from django_executors.states import *

pytestmark = pytest.mark.django_db(transaction=True)
def test_create():
    b = Box.objects.create(name="b")
    op = BoxCreateExecutor.execute(b, is_async=False)
    print(op.state, op.error, op.error_traceback)
    for s in op.steps.all(): print(s, s.state, s.error)
    b.refresh_from_db()
    assert op.state == "succeeded"
    assert b.state == "ok"
    op = BoxDeleteExecutor.execute(b, is_async=False)
    assert op.state == "succeeded", op.error_traceback
